//! A pass over one job: look, decide, make one write, and again until there is none to make.

pub mod amend;
pub mod apply;
pub mod build;
pub mod cleanup;
mod create;
pub mod decision;
pub mod dereference;
mod error;
pub mod events;
pub mod file_urls;
pub mod invalid;
pub mod measures;
pub mod observed;
pub mod phase;
pub mod pod_checks;
pub mod pod_reports;
pub mod pods;
pub mod read_error;
pub mod restate;
pub mod status;
pub mod steps;
pub mod validate;
pub mod workloads;
pub mod write_outcome;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use mapreduce_api::v1alpha1::{JobPhase, MANAGED_BY, MapReduceJob};

pub use error::ReconcileError;

use crate::context::Context;
use crate::kube_ext;
use crate::watchdog::PASS_LIMIT;
use decision::ApiWrite;
use dereference::Source;
use events::Notice;
use observed::{PodsSeen, Refusal};
use write_outcome::{WriteOutcome, writing};

/// Holds a deleted job until its intermediate data is removed.
pub const FINALIZER: &str = "mapreduce.dev/cleanup";

/// Most writes of one pass. The longest sequence is that of a job whose every phase is complete already.
const MAX_WRITES: usize = 24;

/// A pass over a job.
pub async fn reconcile(
    seen: Arc<DeserializeGuard<MapReduceJob>>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    let Some(_place) = context.queue.place().await else { return Ok(Action::await_change()) };
    let started = Instant::now();
    let (uid, passed) = match &seen.0 {
        Ok(job) => {
            let _watched = context.watchdog.begins(&format!(
                "{}/{}",
                job.namespace().unwrap_or_default(),
                job.name_any()
            ));
            (job.uid().unwrap_or_default(), limited(caught(Box::pin(pass(job, &context)))).await)
        }
        Err(invalid) => {
            let about = seen.object_ref(&());
            let passed = limited(Box::pin(unreadable(&context, &about, invalid))).await;
            (invalid.metadata.uid.clone().unwrap_or_default(), passed)
        }
    };
    context.metrics.reconciled(started, passed.as_ref().map_or_else(ReconcileError::category, |_| "ok"));
    if passed.is_ok() {
        context.backoff.succeeded(&uid);
    }
    passed
}

/// A pass that takes too long is given up: it holds a place that another job needs. What it has written stays.
async fn limited(
    pass: impl Future<Output = Result<Action, ReconcileError>>,
) -> Result<Action, ReconcileError> {
    tokio::time::timeout(PASS_LIMIT, pass).await.unwrap_or(Err(ReconcileError::TimedOut))
}

/// A pass that panics is an error of its job: no other job, and not the operator, has to do with it.
async fn caught(
    pass: impl Future<Output = Result<Action, ReconcileError>>,
) -> Result<Action, ReconcileError> {
    AssertUnwindSafe(pass).catch_unwind().await.unwrap_or(Err(ReconcileError::Panicked))
}

/// When a pass that failed is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the controller calls it this way")]
pub fn error_policy(
    seen: Arc<DeserializeGuard<MapReduceJob>>,
    _: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    Action::requeue(context.backoff.failed(&seen.uid().unwrap_or_default()))
}

/// The schema let in what the types don't know: a job of another version. It can't be judged, so it is
/// left alone, and says so; deleted, it is let go.
async fn unreadable(
    context: &Context,
    about: &ObjectReference,
    invalid: &InvalidObject,
) -> Result<Action, ReconcileError> {
    let deleted = invalid.metadata.deletion_timestamp.is_some();
    let what = if deleted { "lets it go: intermediate data may be left" } else { "leaves it alone" };
    let note = format!("this operator can't read the job and {what}: {}", invalid.error);
    tracing::warn!(job = about.name, "{note}");
    context.events.publish(about, vec![Notice::warning("Unreadable", note)]);
    if deleted {
        release_finalizer(context, &invalid.metadata).await.map_err(writing("finalizer"))?;
    }
    Ok(Action::await_change())
}

/// Removes the finalizer of a job of which only the metadata is known.
pub async fn release_finalizer(context: &Context, metadata: &ObjectMeta) -> Result<(), kube::Error> {
    let held = metadata.finalizers.iter().flatten();
    let others: Vec<&String> = held.filter(|finalizer| *finalizer != FINALIZER).collect();
    let patch = serde_json::json!({"metadata": {
        "uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": others,
    }});
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<PartialObjectMeta<MapReduceJob>> = Api::namespaced(context.client.clone(), namespace);
    let name = metadata.name.as_deref().unwrap_or_default();
    match kube_ext::patch_metadata_opt(&api, name, &patch).await {
        // It has changed meanwhile: there will be another pass.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        patched => patched.map(drop),
    }
}

/// The longest time that nobody looks at a job which waits for a moment: clocks are set.
const MAX_WAIT: Duration = Duration::from_hours(24);
/// A job that isn't at rest is looked at this often, whatever the watches show: they show nothing of a Job that
/// somebody has taken the labels from.
const RESYNC: Duration = Duration::from_mins(5);

fn wake(after: Option<Duration>) -> Action {
    after.map_or_else(Action::await_change, |after| Action::requeue(after.min(MAX_WAIT)))
}

/// The same for a job that has more to come. Jobs that were created together are looked at one after the other.
fn wake_or_resync(job: &MapReduceJob, after: Option<Duration>) -> Action {
    let mut spread = DefaultHasher::new();
    job.metadata.uid.hash(&mut spread);
    let resync = RESYNC + Duration::from_millis(spread.finish() % 60_000);
    Action::requeue(after.map_or(resync, |after| after.min(resync)))
}

/// A job that has nothing more to come: most of those that there are. They cost no request.
fn at_rest(job: &MapReduceJob, now: Timestamp) -> Option<Action> {
    if decision::is_held(job) {
        return None;
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Some(Action::await_change());
    }
    let phase = job.status.as_ref().and_then(|s| s.phase);
    let decision = (phase == Some(JobPhase::Succeeded)).then(|| cleanup::expired(job, now))?;
    (decision.write == ApiWrite::Rest).then(|| wake(decision.wake))
}

async fn pass(seen: &MapReduceJob, context: &Context) -> Result<Action, ReconcileError> {
    if seen.spec.managed_by.as_deref().is_some_and(|by| by != MANAGED_BY) {
        return Ok(Action::await_change());
    }
    let uid = seen.uid().unwrap_or_default();
    if let Some(action) = at_rest(seen, context.now()) {
        context.forget(&uid);
        return Ok(action);
    }
    let mut read = context.now();
    let (mut job, mut source) = (seen.clone(), Source::Watches);
    if context.looks.is_due(&uid, context.now(), RESYNC) {
        let Some(now) = dereference::job(&context.client, seen).await? else {
            context.forget(&uid);
            return Ok(Action::await_change());
        };
        (job, source) = (now, Source::Server);
    }
    // dereference (client)
    let mut children = dereference::children(context, &job, source).await?;
    let mut refused: Option<Refusal> = None;
    let mut namespace_terminating = false;
    let mut pods_seen = PodsSeen::default();
    for _ in 0..MAX_WRITES {
        let mut observed = dereference::observe(context, &job, children.clone()).await?;
        observed.refused = refused.take();
        observed.namespace_terminating |= namespace_terminating;
        observed.take_over(std::mem::take(&mut pods_seen));
        pods_seen = observed.pods_seen();
        // validate (pure)
        let valid = validate::validate(&job);
        // decide (pure)
        let decision = phase::decide(&job, &valid, &observed, &context.limits);
        if decision.write == ApiWrite::Rest {
            return Ok(wake_or_resync(&job, decision.wake));
        }
        if let ApiWrite::Record(new) = &decision.write
            && status::is_progress(job.status.as_ref(), new)
            && let Some(wait) = context.status_pace.wait(&uid, (context.clock)())
        {
            return Ok(Action::requeue(wait));
        }
        // The watches may be behind what this very operator has written: nothing is written because of what they show.
        if source == Source::Watches {
            (source, read) = (Source::Server, context.now());
            let Some(now) = dereference::job(&context.client, seen).await? else {
                context.forget(&uid);
                return Ok(Action::await_change());
            };
            context.looks.looked(&uid, context.now());
            let now_children = dereference::children(context, &now, source).await?;
            if now.resource_version() != job.resource_version() || now_children != children {
                (job, children) = (now, now_children);
                continue;
            }
        }
        let records = matches!(decision.write, ApiWrite::Record(_));
        // apply (client)
        let begun = context.now();
        match apply::apply(context, &job, read, decision.write).await? {
            WriteOutcome::Job(new) => {
                if records {
                    context.status_pace.written(&uid, (context.clock)());
                }
                let same = children.are_of(&job, &new);
                (job, read, pods_seen) = (*new, begun, PodsSeen::default());
                if same {
                    continue;
                }
            }
            WriteOutcome::Child => pods_seen = PodsSeen::default(),
            WriteOutcome::Refused(refusal) => refused = Some(refusal),
            WriteOutcome::NamespaceTerminating => namespace_terminating = true,
            WriteOutcome::Stale => {
                read = context.now();
                match dereference::job(&context.client, &job).await? {
                    Some(new) => job = new,
                    None => return Ok(Action::await_change()),
                }
            }
            WriteOutcome::Later => return Ok(Action::requeue(Duration::from_secs(1))),
            WriteOutcome::Gone => {
                context.forget(&uid);
                return Ok(Action::await_change());
            }
        }
        children = dereference::children(context, &job, source).await?;
    }
    Err(ReconcileError::Endless(MAX_WRITES))
}

#[cfg(test)]
mod tests {
    use super::{ReconcileError, caught};

    #[tokio::test]
    async fn a_pass_that_panics_is_an_error_of_its_job() {
        let passed = caught(async { panic!("a defect") }).await;
        assert!(matches!(passed, Err(ReconcileError::Panicked)));
    }
}
