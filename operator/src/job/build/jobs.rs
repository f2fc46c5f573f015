//! `NAME-plan`, `NAME-map`, `NAME-reduce`, `NAME-cleanup`; of a job with steps `NAME-1-plan` and so on.

use std::time::Duration;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use kube::api::ObjectMeta;
use mapreduce_api::wire::exit;

use super::labels;
use super::names::Child;
use super::pod_template::{WORKER, pod_template};
use crate::context::PodDefaults;
use crate::job::validate::ValidatedJob;

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

/// The Job of a phase, or the one that removes intermediate data within `deadline`.
///
/// It is created once and never applied again: Kueue changes `suspend`, `parallelism` and the template
/// of a Job that it admits. It has no TTL of its own: a Job that vanishes would look like one that was
/// never made.
pub fn job(
    job: &ValidatedJob,
    child: Child,
    size: Size,
    deadline: Option<Duration>,
    pods: &PodDefaults,
) -> Job {
    let mut own = labels::common(&job.name, &job.uid, Some(child));
    own.extend(job.step_label(child));
    if child != Child::Cleanup {
        // A cleanup that waits in a queue would hold up the deletion of its job.
        own.extend(job.queue.clone());
    }
    Job {
        metadata: ObjectMeta {
            name: Some(child.name(&job.name, job.step)),
            namespace: Some(job.namespace.clone()),
            labels: Some(own),
            owner_references: Some(vec![job.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            active_deadline_seconds: deadline.map(|d| d.as_secs().max(1) as i64),
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(size.completions),
            parallelism: Some(size.parallelism),
            // One extra attempt records the loss of a task if the last one was killed.
            backoff_limit_per_index: Some(
                job.spec.retries + i32::from(child == Child::Map && !job.spec.max_failed_tasks.is_none()),
            ),
            // One task that has used up its attempts ends the job: nothing can be reduced without it.
            max_failed_indexes: Some(0),
            pod_failure_policy: Some(failure_policy()),
            // Not before the old pod has ended: two attempts are safe, but cost twice.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: pod_template(job, child, pods),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// A node that goes away is no fault of the task; a fault that no attempt can avoid ends the job at once.
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
                    values: vec![i32::from(exit::PERMANENT)],
                }),
                on_pod_conditions: None,
            },
        ],
    }
}
