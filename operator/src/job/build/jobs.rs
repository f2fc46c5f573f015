//! `NAME-plan`, `NAME-map`, `NAME-reduce`, `NAME-cleanup`; of a job with steps `NAME-1-plan` and so on.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use mapreduce_api::v1alpha1::MapReduceJob;
use mapreduce_api::wire::{env, exit};

use super::names::{Child, WORKER};
use super::pod_template::{DESCRIPTION_VOLUME, variable};
use super::revision::Revision;
use super::{labels, names};
use crate::job::steps;
use crate::job::validate::owner;

/// How many tasks a Job has and how many of them run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Tasks.
    pub completions: i32,
    /// Pods at once.
    pub parallelism: i32,
}

impl Size {
    /// The one task of a plan or a cleanup.
    pub const ONE: Self = Self { completions: 1, parallelism: 1 };
}

/// How long a cleanup Job that nobody owns is kept.
const ALONE_TTL_SECONDS: i32 = 300;

/// The Job of a phase, or the one that removes intermediate data within `deadline`. Its pods are the revision's; what
/// may change while the run goes on is the job's as it is now. None where the revision knows of no such pods.
///
/// It is created once and never applied again: Kueue changes `suspend`, `parallelism` and the template
/// of a Job that it admits. A phase's has no TTL of its own: a Job that vanishes would look like one
/// that was never made.
pub fn job(
    parent: &MapReduceJob,
    revision: &Revision,
    child: Child,
    size: Size,
    deadline: Option<Duration>,
) -> Option<Job> {
    let (name, step) = (parent.name_any(), steps::at(parent));
    let spec = &revision.file.spec;
    let mut template = revision.pods(child, step.number())?.clone();
    // The garbage collector removes what a job that is deleted in the foreground owns, at once: not what removes its
    // data. The labels say whose it is, and it goes by itself.
    let on_its_own = child == Child::Cleanup && parent.metadata.deletion_timestamp.is_some();
    if on_its_own {
        let volumes = template.spec.iter_mut().flat_map(|pods| pods.volumes.iter_mut().flatten());
        let description = volumes.filter(|volume| volume.name == DESCRIPTION_VOLUME);
        for source in description.filter_map(|volume| volume.config_map.as_mut()) {
            source.name = names::cleanup_config_map(&name);
        }
    }
    let pods = template.spec.iter_mut().flat_map(|pods| pods.containers.iter_mut());
    for worker in pods.filter(|container| container.name == WORKER) {
        let cleanup = serde_json::to_value(parent.spec.cleanup).ok()?;
        worker.env.get_or_insert_default().extend([
            variable(env::REVISION, &revision.digest()),
            variable(env::CLEANUP, cleanup.as_str().unwrap_or_default()),
        ]);
    }
    let mut own = labels::common(&name, &parent.uid().unwrap_or_default(), Some(child));
    own.extend(labels::step(step.phases().name, child));
    if ![Child::Report, Child::Cleanup].contains(&child) {
        // A cleanup that waits in a queue would hold up the deletion of its job, and a report its end.
        own.extend(labels::queue(parent.metadata.labels.as_ref()));
    }
    Some(Job {
        metadata: ObjectMeta {
            name: Some(child.name(&name, step.number())),
            namespace: parent.namespace(),
            labels: Some(own),
            annotations: Some([(labels::REVISION.to_owned(), revision.digest())].into()),
            owner_references: (!on_its_own).then(|| vec![owner(parent)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            ttl_seconds_after_finished: on_its_own.then_some(ALONE_TTL_SECONDS),
            active_deadline_seconds: deadline.map(|d| d.as_secs().max(1) as i64),
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(size.completions),
            parallelism: Some(size.parallelism),
            // One extra attempt records the loss of a task if the last one was killed.
            backoff_limit_per_index: Some(
                spec.retries + i32::from(child == Child::Map && !spec.max_failed_tasks.is_none()),
            ),
            // One task that has used up its attempts ends the job: nothing can be reduced without it.
            max_failed_indexes: Some(0),
            pod_failure_policy: Some(failure_policy()),
            // Not before the old pod has ended: two attempts are safe, but cost twice.
            pod_replacement_policy: Some("Failed".to_owned()),
            template,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// A node that goes away is not the fault of the task; a fault that no attempt can avoid ends the job at once.
fn failure_policy() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".to_owned(),
                    status: "True".to_owned(),
                }]),
                on_exit_codes: None,
            },
            PodFailurePolicyRule {
                action: "FailJob".to_owned(),
                on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                    container_name: Some(WORKER.to_owned()),
                    operator: "In".to_owned(),
                    // The pod has waited for the store already: the next would wait as long again.
                    values: vec![exit::PERMANENT.into(), exit::STORE_UNAVAILABLE.into()],
                }),
                on_pod_conditions: None,
            },
        ],
    }
}
