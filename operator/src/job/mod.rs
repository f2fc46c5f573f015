//! A pass over one job: look, decide, make one write, and again until there is none to make.

pub mod apply;
pub mod build;
pub mod cleanup;
pub mod decision;
pub mod dereference;
mod error;
pub mod events;
pub mod observed;
pub mod phase;
pub mod pods;
pub mod status;
pub mod steps;
pub mod validate;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt as _};
use mapreduce_api::v1alpha1::{JobPhase, MANAGED_BY, MapReduceJob};

pub use error::Error;

use crate::context::Context;
use apply::Written;
use decision::ApiWrite;
use events::Notice;
use observed::Refusal;

/// Holds a deleted job until its intermediate data is removed.
pub const FINALIZER: &str = "mapreduce.dev/cleanup";

/// Most writes of one pass. The longest sequence is that of a job whose every phase is complete already.
const MAX_WRITES: usize = 24;

/// A pass over a job.
pub async fn reconcile(
    seen: Arc<DeserializeGuard<MapReduceJob>>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let started = Instant::now();
    let (uid, passed) = match &seen.0 {
        Ok(job) => (job.uid().unwrap_or_default(), caught(Box::pin(pass(job, &context))).await),
        Err(invalid) => {
            let about = seen.object_ref(&());
            (invalid.metadata.uid.clone().unwrap_or_default(), Ok(unreadable(&context, about, invalid).await))
        }
    };
    context.metrics.reconciled(started, passed.as_ref().map_or_else(Error::category, |_| "ok"));
    if passed.is_ok() {
        context.backoff.succeeded(&uid);
    }
    passed
}

/// A pass that panics is an error of its job: no other job, and not the operator, has to do with it.
async fn caught(pass: impl Future<Output = Result<Action, Error>>) -> Result<Action, Error> {
    AssertUnwindSafe(pass).catch_unwind().await.unwrap_or(Err(Error::Panicked))
}

/// When a pass that failed is tried again.
#[expect(clippy::needless_pass_by_value, reason = "the controller calls it this way")]
pub fn error_policy(seen: Arc<DeserializeGuard<MapReduceJob>>, _: &Error, context: Arc<Context>) -> Action {
    Action::requeue(context.backoff.failed(&seen.uid().unwrap_or_default()))
}

/// The schema let in what the types don't know: a job of another version. It can't be judged, so it is
/// left alone, and says so.
async fn unreadable(context: &Context, about: ObjectReference, invalid: &InvalidObject) -> Action {
    let note = format!("this operator can't read the job and leaves it alone: {}", invalid.error);
    tracing::warn!(job = about.name, "{note}");
    events::publish_about(context, &about, vec![Notice::warning("Unreadable", note)]).await;
    Action::await_change()
}

/// The longest time that nobody looks at a job which waits for a moment: clocks are set.
const MAX_WAIT: Duration = Duration::from_hours(24);

fn wake(after: Option<Duration>) -> Action {
    after.map_or_else(Action::await_change, |after| Action::requeue(after.min(MAX_WAIT)))
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

async fn pass(seen: &MapReduceJob, context: &Context) -> Result<Action, Error> {
    if seen.spec.managed_by.as_deref().is_some_and(|by| by != MANAGED_BY) {
        return Ok(Action::await_change());
    }
    if let Some(action) = at_rest(seen, context.now()) {
        return Ok(action);
    }
    // dereference (client): the watch may be behind what this very operator has written.
    let Some(mut job) = dereference::job(&context.client, seen).await? else {
        return Ok(Action::await_change());
    };
    let mut refused: Option<Refusal> = None;
    let mut namespace_terminating = false;
    for _ in 0..MAX_WRITES {
        // dereference (client)
        let mut observed = dereference::observe(context, &job).await?;
        observed.refused = refused.take();
        observed.namespace_terminating |= namespace_terminating;
        // validate (pure)
        let valid = validate::validate(&job);
        // decide (pure)
        let decision = phase::decide(&job, &valid, &observed, &context.limits);
        if decision.write == ApiWrite::Rest {
            return Ok(wake(decision.wake));
        }
        // apply (client)
        match apply::apply(context, &job, valid.as_ref().ok(), decision.write).await? {
            Written::Job(new) => job = *new,
            Written::Child => {}
            Written::Refused(refusal) => refused = Some(refusal),
            Written::NamespaceTerminating if job.metadata.deletion_timestamp.is_none() => {
                return Ok(Action::requeue(Duration::from_secs(10)));
            }
            Written::NamespaceTerminating => namespace_terminating = true,
            Written::Stale => match dereference::job(&context.client, &job).await? {
                Some(new) => job = new,
                None => return Ok(Action::await_change()),
            },
            Written::Later => return Ok(Action::requeue(Duration::from_secs(1))),
            Written::Gone => return Ok(Action::await_change()),
        }
    }
    Err(Error::Endless(MAX_WRITES))
}

#[cfg(test)]
mod tests {
    use super::{Error, caught};

    #[tokio::test]
    async fn a_pass_that_panics_is_an_error_of_its_job() {
        let passed = caught(async { panic!("a defect") }).await;
        assert!(matches!(passed, Err(Error::Panicked)));
    }
}
