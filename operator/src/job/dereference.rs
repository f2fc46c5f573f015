//! Reads all that a decision depends on, past the caches: the API server's own state, not a watch's.
//!
//! A pass over a job that runs costs one read of the job and one of its phase's Job. Pods are listed at
//! a Job's end, and while some of them can't start; never because one of them has changed.

use futures::future::try_join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use mapreduce_api::v1alpha1::{Cleanup, JobPhase, MapReduceJob};
use mapreduce_api::wire::Termination;
use std::time::Duration;

use super::FINALIZER;
use super::build::names::Child;
use super::observed::{ChildJob, ChildState, JobState, Observed, PodReport, Starting, Stuck, Waiting};
use super::{pods, steps};
use crate::context::Context;
use crate::kube_ext::controller_of;

/// What could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {what}: {source}")]
pub struct Error {
    what: &'static str,
    source: Box<kube::Error>,
}

impl Error {
    /// One word for metrics.
    pub fn category(&self) -> &'static str {
        self.what
    }
}

fn reading(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error { what, source: Box::new(source) }
}

/// The job as it is now; `None` when it is gone, or another one has its name.
pub async fn job(client: &Client, seen: &MapReduceJob) -> Result<Option<MapReduceJob>, Error> {
    let api: Api<MapReduceJob> = Api::namespaced(client.clone(), &seen.namespace().unwrap_or_default());
    let now = api.get_opt(&seen.name_any()).await.map_err(reading("job"))?;
    Ok(now.filter(|now| now.uid() == seen.uid()))
}

/// What there is beside the job.
pub async fn observe(context: &Context, job: &MapReduceJob) -> Result<Observed, Error> {
    let namespace = job.namespace().unwrap_or_default();
    let mut seen = Observed::nothing(context.now());
    let children = wanted(job);
    let api: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    let slots = try_join_all(children.iter().map(|child| slot(&api, job, *child))).await?;
    for (child, slot) in children.iter().zip(slots) {
        *seen.child_mut(*child) = slot;
    }
    if job.metadata.deletion_timestamp.is_some() {
        seen.namespace_terminating = is_terminating(&context.client, &namespace).await?;
        return Ok(seen);
    }
    // Between two pods a Job has none for a moment. In a namespace that is being deleted it gets none any more.
    let without_pods = |child: &Child| seen.child(*child).ours().is_some_and(ChildJob::is_without_pods);
    if children.iter().any(without_pods) {
        seen.namespace_terminating = is_terminating(&context.client, &namespace).await?;
    }
    let Some(child) = job.status.as_ref().and_then(|s| s.phase).and_then(Child::of) else { return Ok(seen) };
    if let ChildState::Ours(run) = seen.child(child).clone() {
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
        seen.words = words(&api, job, child, &run).await?;
        seen.starting = starting(context, job, child, &run, seen.now).await?;
    }
    Ok(seen)
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

async fn slot(api: &Api<Job>, job: &MapReduceJob, child: Child) -> Result<ChildState, Error> {
    let Some(found) = api.get_opt(&child.name_in(job)).await.map_err(reading("child"))? else {
        return Ok(ChildState::Absent);
    };
    Ok(owner(&found, job).unwrap_or_else(|| ChildState::Ours(ChildJob::from(&found))))
}

/// Whose an object is, when it isn't this job's.
pub fn owner<K: kube::Resource>(object: &K, job: &MapReduceJob) -> Option<ChildState> {
    match controller_of(object) {
        Some(owner) if Some(&owner.uid) == job.metadata.uid.as_ref() => None,
        Some(owner) if owner.kind == "MapReduceJob" && owner.name == job.name_any() => {
            Some(ChildState::Leftover)
        }
        _ => Some(ChildState::Foreign),
    }
}

async fn is_terminating(client: &Client, namespace: &str) -> Result<bool, Error> {
    match Api::<Namespace>::all(client.clone()).get_opt(namespace).await {
        Ok(found) => Ok(found.is_some_and(|n| n.metadata.deletion_timestamp.is_some())),
        // With Roles alone this can't be read; a creation that is refused will tell.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(false),
        Err(e) => Err(reading("namespace")(e)),
    }
}

/// What the pods said, where that decides what is next.
async fn words(api: &Api<Pod>, job: &MapReduceJob, child: Child, run: &ChildJob) -> Result<PodReport, Error> {
    let step = steps::at(job);
    let map_only = job.status.as_ref().and_then(|s| s.reduces.as_ref()).is_some_and(|r| r.total == 0);
    match (&run.state, child) {
        (JobState::Running, _) => Ok(PodReport::Unread),
        (JobState::Complete, Child::Plan) => {
            succeeded(api, run, |said| match said {
                Termination::Planned(plan) => Some(PodReport::Planned(plan)),
                Termination::Finished(summary) if summary.committed => Some(PodReport::Finished(summary)),
                _ => None,
            })
            .await
        }
        // Only the final phase reports a summary.
        (JobState::Complete, Child::Map) if !map_only => Ok(PodReport::Unread),
        (JobState::Complete, Child::Map | Child::Reduce) if step.next().is_some() => Ok(PodReport::Unread),
        (JobState::Complete, _) => {
            succeeded(api, run, |said| match said {
                Termination::Finished(summary) if summary.committed => Some(PodReport::Finished(summary)),
                _ => None,
            })
            .await
        }
        (JobState::Failing(why) | JobState::Failed(why), child) => {
            let failed = pods::of(&run.uid).fields("status.phase=Failed").limit(500);
            let failed = api.list(&failed).await.map_err(reading("pods"))?;
            Ok(PodReport::Failed(pods::failure(child, &step.path(), &failed.items, why)))
        }
    }
}

/// The first answer among the pods that succeeded, a page at a time: a phase may have 10,000 of them.
async fn succeeded(
    api: &Api<Pod>,
    run: &ChildJob,
    wanted: impl Fn(Termination) -> Option<PodReport>,
) -> Result<PodReport, Error> {
    let mut page: ListParams = pods::of(&run.uid).fields("status.phase=Succeeded").limit(500);
    let mut words = PodReport::Lost;
    loop {
        let found = api.list(&page).await.map_err(reading("pods"))?;
        for pod in &found.items {
            let message = pods::last_words(pod);
            if let Some(answer) = serde_json::from_str(&message).ok().and_then(&wanted) {
                return Ok(answer);
            }
            words = PodReport::Unclear(message);
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(words),
        }
    }
}

/// Whether pods wait, and for what.
async fn starting(
    context: &Context,
    job: &MapReduceJob,
    child: Child,
    run: &ChildJob,
    now: Timestamp,
) -> Result<Starting, Error> {
    let uid = job.uid().unwrap_or_default();
    let none_made = run.active == 0 && run.terminating == 0;
    let idle = run.state != JobState::Running || run.deleting || run.suspended;
    if idle || (run.active <= run.ready && !none_made) {
        context.looks.forget(&uid);
        return Ok(if idle { Starting::Unread } else { Starting::All });
    }
    let limit = job.spec.pending_deadline_seconds;
    let again = context
        .limits
        .start_grace
        .min(limit.map_or(Duration::MAX, |s| Duration::from_secs(s.unsigned_abs())));
    if let Err(wait) = context.looks.due(&uid, now, again) {
        return Ok(Starting::NotDue(wait));
    }
    let namespace = job.namespace().unwrap_or_default();
    let list = pods::of(&run.uid).fields("status.phase=Pending").limit(100);
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let pending = api.list(&list).await.map_err(reading("pods"))?;
    if let Some((since, stuck)) = pods::longest_pending(&pending.items) {
        if let Some(limit) = limit {
            context.looks.sooner(
                &uid,
                since.saturating_add(SignedDuration::from_secs(limit)).unwrap_or(Timestamp::MAX),
            );
        }
        return Ok(Starting::Waiting(Waiting { since, stuck, again }));
    }
    // Between two pods a Job has none for a moment; with no tasks done since it started it can't make any.
    if !none_made || run.succeeded > 0 || run.failed > 0 {
        return Ok(Starting::All);
    }
    let since = run.start_time.as_ref().map_or(now, |t| t.0);
    let stuck = failed_create(&context.client, &namespace, run).await?.unwrap_or_else(|| Stuck {
        reason: "FailedCreate".to_owned(),
        message: format!("Job {} has made no pods: its events say why", child.name_in(job)),
    });
    Ok(Starting::Waiting(Waiting { since, stuck: Some(stuck), again }))
}

/// What the Job controller says of pods that it can't make: a quota, an admission policy.
async fn failed_create(client: &Client, namespace: &str, run: &ChildJob) -> Result<Option<Stuck>, Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let list =
        ListParams::default().fields(&format!("regarding.uid={},reason=FailedCreate", run.uid)).limit(10);
    match api.list(&list).await {
        Ok(events) => Ok(events
            .items
            .into_iter()
            .rev()
            .find_map(|event| Some(Stuck { reason: "FailedCreate".to_owned(), message: event.note? }))),
        // The right to list events is optional.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        Err(e) => Err(reading("events")(e)),
    }
}
