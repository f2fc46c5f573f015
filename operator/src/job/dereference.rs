//! Reads all that a decision depends on. Whether there is anything to do is seen in what the watches have shown; before
//! anything is written, job and Jobs are read from the API server ([`Source`]).
//!
//! Pods are listed at a Job's end, and while some of them can't start; never because one of them has changed.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt as _};
use mapreduce_api::v1alpha1::{Cleanup, JobPhase, MapReduceJob};

use super::FINALIZER;
use super::build::labels;
use super::build::names::{self, Child};
use super::observed::{ChildJob, ChildState, JobState, Observed, PodReport};
use super::read_error::{ReadError, reading};
use super::{pod_checks, pod_reports, pods, steps, workloads};
use crate::child_objects::ChildObject;
use crate::context::Context;
use crate::kube_ext::{self, controller_of};

/// The job as it is now; `None` when it is gone, or another one has its name.
pub async fn job(client: &Client, seen: &MapReduceJob) -> Result<Option<MapReduceJob>, ReadError> {
    let api: Api<MapReduceJob> = Api::namespaced(client.clone(), &seen.namespace().unwrap_or_default());
    let now = api.get_opt(&seen.name_any()).await.map_err(reading("job"))?;
    Ok(now.filter(|now| now.uid() == seen.uid()))
}

/// A Job may be without pods for this long before it is asked why.
const NEW: SignedDuration = SignedDuration::from_secs(10);

/// Where children are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Where the watches have shown them; the others are read.
    Watches,
    /// They are read.
    Server,
}

/// The children that matter to a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Children(Vec<(Child, ChildState)>);

impl Children {
    /// Whether the same children matter for the job as it is now.
    pub fn are_of(&self, old: &MapReduceJob, new: &MapReduceJob) -> bool {
        wanted(old) == wanted(new) && steps::at(old).number() == steps::at(new).number()
    }
}

/// Looks at the children that matter.
pub async fn children(context: &Context, job: &MapReduceJob, source: Source) -> Result<Children, ReadError> {
    let look = |child: Child| async move { Ok((child, slot(context, job, child, source).await?)) };
    try_join_all(wanted(job).into_iter().map(look)).await.map(Children)
}

/// What there is beside the job: its children, and what can be seen of these.
pub async fn observe(
    context: &Context,
    job: &MapReduceJob,
    children: Children,
) -> Result<Observed, ReadError> {
    let mut seen = Observed::nothing(context.now());
    let uid = job.uid().unwrap_or_default();
    if job.spec.suspend {
        context.creations.forget(&uid);
    }
    let looked_at: Vec<Child> = children.0.iter().map(|(child, _)| *child).collect();
    for (child, slot) in children.0 {
        *seen.child_mut(child) = slot;
        let creation = context.creations.of(&uid, &child.name_in(job));
        seen.creations.extend(creation.map(|creation| (child, creation)));
    }
    if job.metadata.deletion_timestamp.is_some() {
        seen.namespace_terminating = is_in_terminating(&context.client, job).await?;
        observe_end(context, job, &mut seen).await?;
        return Ok(seen);
    }
    // A Job that was just made has no pods yet, and between two pods it has none for a moment. In a namespace that is
    // being deleted it gets none any more.
    let is_new = |run: &ChildJob| {
        let age = run.created.as_ref().map(|created| seen.now.duration_since(created.0));
        age.is_some_and(|age| age < NEW)
    };
    let without_pods =
        |child: &Child| seen.child(*child).ours().is_some_and(|run| run.is_without_pods() && !is_new(run));
    if looked_at.iter().any(without_pods) {
        seen.namespace_terminating = is_in_terminating(&context.client, job).await?;
    }
    let Some(child) = job.status.as_ref().and_then(|s| s.phase).and_then(Child::of) else {
        observe_end(context, job, &mut seen).await?;
        return Ok(seen);
    };
    if let ChildState::Ours(run) = seen.child(child).clone() {
        let api: Api<Pod> = context.api(job);
        seen.words = pod_reports::report(&api, job, child, &run).await?;
        if run.state == JobState::Complete && matches!(seen.words, PodReport::Lost | PodReport::Unclear(_)) {
            observe_report(context, job, &api, &mut seen).await?;
        }
        if let Some(report) = seen.report.ours().filter(|report| !report.is_finished()) {
            // The phase's own pods have ended: the one that is waited for may be on a lost node too.
            let check = pod_checks::check(context, job, Child::Report, report, seen.now).await?;
            seen.lost_pods = check.lost;
            return Ok(seen);
        }
        let check = pod_checks::check(context, job, child, &run, seen.now).await?;
        seen.starting = check.starting;
        seen.lost_pods = check.lost;
        if run.queued && (job.spec.suspend || run.suspended) {
            seen.workload = workloads::state(&context.client, job, &run.uid).await?;
        }
        seen.disrupted = check.disrupted;
        if run.has_run_for_long() {
            seen.disrupted = pod_reports::disruptions(&api, &run).await?;
        }
        seen.store_away = check.store_away;
        seen.look_again = check.look_again;
        seen.last_failure = check.last_failure;
    }
    Ok(seen)
}

/// What has come of asking for a report again.
async fn observe_report(
    context: &Context,
    job: &MapReduceJob,
    pods: &Api<Pod>,
    seen: &mut Observed,
) -> Result<(), ReadError> {
    seen.report = slot(context, job, Child::Report, Source::Server).await?;
    let creation = context.creations.of(&job.uid().unwrap_or_default(), &Child::Report.name_in(job));
    seen.creations.extend(creation.map(|creation| (Child::Report, creation)));
    if let ChildState::Ours(run) = &seen.report {
        if run.is_without_pods() {
            seen.namespace_terminating = is_in_terminating(&context.client, job).await?;
        }
        seen.restated = pod_reports::restated(pods, run).await?;
    }
    Ok(())
}

/// Pods that a job which has ended, or is being deleted, waits for.
async fn observe_end(context: &Context, job: &MapReduceJob, seen: &mut Observed) -> Result<(), ReadError> {
    // A cleanup that is to be made anew waits for its pods as well.
    let made_anew = seen.cleanup.ours().is_some_and(|run| run.deleting).then_some(Child::Cleanup);
    let unfinished = Child::PHASES
        .into_iter()
        .chain(made_anew)
        .find_map(|child| Some((child, seen.child(child).ours().filter(|run| run.may_write())?.clone())));
    if let Some((child, run)) = unfinished {
        let ending = ChildJob { deleting: true, ..run };
        let check = pod_checks::check(context, job, child, &ending, seen.now).await?;
        seen.starting = check.starting;
        seen.lost_pods = check.lost;
        return Ok(());
    }
    // A container that was injected into its pod and goes on must not hold the job.
    if let ChildState::Ours(run) = &mut seen.cleanup
        && run.state == JobState::Running
        && run.active > run.ready
    {
        let api: Api<Pod> = context.api(job);
        pod_reports::pages(&api, &run.clone(), "Running", |pod| {
            if pods::worker_succeeded(&pod) {
                run.state = JobState::Complete;
            }
            true
        })
        .await?;
    }
    Ok(())
}

/// The children that matter in this phase.
fn wanted(job: &MapReduceJob) -> Vec<Child> {
    let phase = job.status.as_ref().and_then(|s| s.phase).unwrap_or(JobPhase::Pending);
    let held = job.finalizers().iter().any(|f| f == FINALIZER);
    let all = [Child::Plan, Child::Map, Child::Reduce, Child::Cleanup];
    if job.metadata.deletion_timestamp.is_some() {
        return if held { all.to_vec() } else { Vec::new() };
    }
    match phase {
        JobPhase::Failed if held && job.spec.cleanup == Cleanup::Always => all.to_vec(),
        JobPhase::Failed => Child::PHASES.to_vec(),
        phase => Child::of(phase).into_iter().collect(),
    }
}

async fn slot(
    context: &Context,
    job: &MapReduceJob,
    child: Child,
    source: Source,
) -> Result<ChildState, ReadError> {
    let name = child.name_in(job);
    let state = |found: &ChildObject| owner(found, job).unwrap_or_else(|| ChildState::Ours(found.into()));
    if source == Source::Watches
        && let Some(shown) = context.children.get(&job.namespace().unwrap_or_default(), &name)
    {
        return Ok(state(&shown));
    }
    let found = context.api::<ChildObject>(job).get_opt(&name).await.map_err(reading("child"))?;
    Ok(found.as_ref().map_or(ChildState::Absent, state))
}

/// Whose an object is, when it isn't this job's. Where its owner was taken away, by a deletion with
/// `--cascade=orphan`, its labels tell.
pub fn owner<K: kube::Resource>(object: &K, job: &MapReduceJob) -> Option<ChildState> {
    let label = |name: &str| object.labels().get(name).map(String::as_str);
    let of_this_name = label(labels::MANAGED_BY) == Some(labels::OPERATOR)
        && label(labels::JOB) == Some(job.name_any().as_str());
    let is_deleted = object.meta().deletion_timestamp.is_some();
    match controller_of(object) {
        Some(owner) if Some(&owner.uid) == job.metadata.uid.as_ref() => None,
        None if of_this_name && label(labels::JOB_UID) == job.metadata.uid.as_deref() => None,
        // It is deleted already, and waits for its pods: on a lost node for long.
        None if of_this_name && label(labels::JOB_UID).is_some() && is_deleted => Some(ChildState::Leftover),
        None if of_this_name && label(labels::JOB_UID).is_some() => {
            Some(ChildState::Orphan(object.meta().uid.clone().unwrap_or_default()))
        }
        Some(owner) if owner.kind == "MapReduceJob" && owner.name == job.name_any() => {
            Some(ChildState::Leftover)
        }
        _ => Some(ChildState::Foreign),
    }
}

async fn is_in_terminating(client: &Client, job: &MapReduceJob) -> Result<bool, ReadError> {
    is_terminating(client, &job.namespace().unwrap_or_default(), &job.name_any()).await
}

/// Whether a namespace is being deleted. A job's name is for where that can't be read.
pub async fn is_terminating(client: &Client, namespace: &str, job: &str) -> Result<bool, ReadError> {
    match Api::<Namespace>::all(client.clone()).get_opt(namespace).await {
        Ok(found) => Ok(found.is_some_and(|n| n.metadata.deletion_timestamp.is_some())),
        // With Roles alone it can't be read, and there may be nothing to create that could be refused.
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
            refuses_as_terminating(&api, &names::config_map(job)).await
        }
        Err(e) => Err(reading("namespace")(e)),
    }
}

/// Whether nothing can be created any more: asks for what nobody gets.
async fn refuses_as_terminating(api: &Api<ConfigMap>, name: &str) -> Result<bool, ReadError> {
    let nothing = ConfigMap {
        metadata: ObjectMeta { name: Some(format!("{name}-probe")), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&params, &nothing).await {
        Err(kube::Error::Api(status)) => Ok(kube_ext::is_namespace_terminating(&status)),
        Err(e) => Err(reading("namespace")(e)),
        Ok(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::Job;
    use mapreduce_api::v1alpha1::MapReduceJob;
    use serde_json::{Value, json};

    use super::{ChildState, owner};

    #[test]
    fn an_orphan_is_deleted_once_and_then_waited_for() {
        let job: MapReduceJob = serde_json::from_value(json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob", "metadata": {"name": "wc", "uid": "new"},
            "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"}},
        }))
        .unwrap();
        let of_an_earlier_job = |deleted: Value| -> Job {
            let labels = json!({
                "app.kubernetes.io/managed-by": "mapreduce-operator", "mapreduce.dev/job": "wc", "mapreduce.dev/job-uid": "old",
            });
            let metadata =
                json!({"name": "wc-plan", "uid": "u", "labels": labels, "deletionTimestamp": deleted});
            serde_json::from_value(json!({"metadata": metadata})).unwrap()
        };
        let state = |deleted| owner(&of_an_earlier_job(deleted), &job);
        assert_eq!(state(Value::Null), Some(ChildState::Orphan("u".to_owned())));
        assert_eq!(state(json!("2026-01-01T00:00:00Z")), Some(ChildState::Leftover));
    }
}
