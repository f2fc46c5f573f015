//! The end of a job: its pods, its intermediate data, the finalizer, the resource itself. Pure.
//!
//! The operator holds no credentials of a bucket, so a pod of the job removes the data: after a failure,
//! or while a deleted job is held. How long that may take is bounded, and nothing waits in a namespace
//! that is being deleted itself. A job that has succeeded has removed its data before it said so.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mapreduce_api::v1alpha1::{Cleanup, JobPhase, MapReduceJob};

use super::build::jobs::Size;
use super::build::names::Child;
use super::decision::{ApiWrite, Change, Decision, is_held, until};
use super::observed::{ChildJob, ChildState, JobState, Observed};
use super::status::{PLANNED, PROGRESSING, condition, is_true};
use crate::context::Limits;

/// A job that is being deleted.
pub fn deleted(job: &MapReduceJob, seen: &Observed, limits: &Limits) -> Decision {
    if !is_held(job) {
        return Decision::rest(None);
    }
    let nothing_left = match job.status.as_ref().and_then(|s| s.phase) {
        None | Some(JobPhase::Pending | JobPhase::Succeeded) => true,
        Some(_) => job.spec.cleanup == Cleanup::Never,
    };
    if nothing_left {
        return Decision::write(ApiWrite::RemoveFinalizer(None));
    }
    if seen.namespace_terminating {
        let note =
            "intermediate data is left: the namespace is being deleted, and nothing can be started in it";
        return Decision::write(ApiWrite::RemoveFinalizer(Some(note.to_owned())));
    }
    let limit = SignedDuration::try_from(timeout(job, limits)).unwrap_or(SignedDuration::MAX);
    let since = job.metadata.deletion_timestamp.as_ref().map_or(seen.now, |t| t.0);
    let left = limit.saturating_sub(seen.now.duration_since(since));
    if left <= SignedDuration::ZERO {
        let note = format!("intermediate data may be left: it was not removed within {} s", limit.as_secs());
        return Decision::write(ApiWrite::RemoveFinalizer(Some(note)));
    }
    // Pods first: what they write after the cleanup would stay.
    match stop(seen, |child, run| ApiWrite::Delete(child, run.uid.clone())) {
        Pods::End(step) => Decision::write(step),
        Pods::Ending => Decision::rest(Some(until(left))),
        Pods::None => remove_data(seen, Some(until(left))),
    }
}

/// How long a deleted job is held at most. Where not even the plan's pod could start, there is hardly
/// anything to remove, and what kept that pod from starting will keep the one that would remove it.
fn timeout(job: &MapReduceJob, limits: &Limits) -> Duration {
    let never_started = job.status.as_ref().is_some_and(|status| {
        let stuck = condition(status, PROGRESSING).is_some_and(|c| c.status == "False");
        stuck && !is_true(status, PLANNED)
    });
    if never_started { limits.cleanup_timeout.min(limits.start_grace) } else { limits.cleanup_timeout }
}

/// A job whose namespace is being deleted, and that is not itself deleted yet: Kubernetes deletes pods
/// first, and nothing else before they are gone. A Job with `backoffLimitPerIndex` doesn't let go of a pod
/// that has failed before it has made another, which it never can there: the namespace would stay for ever.
pub fn namespace_deleted(seen: &Observed) -> Decision {
    let all = Child::PHASES.into_iter().chain([Child::Cleanup]);
    let unfinished = all.filter_map(|child| Some((child, seen.child(child).ours()?)));
    let mut unfinished = unfinished.filter(|(_, run)| !run.is_finished() && !run.deleting);
    match unfinished.next() {
        Some((child, run)) => Decision::write(ApiWrite::Delete(child, run.uid.clone())),
        None => Decision::rest(Some(Duration::from_secs(10))),
    }
}

/// A job that has failed: its other pods are ended, and then its data is removed.
pub fn failed(job: &MapReduceJob, seen: &Observed) -> Decision {
    let end = |child, run: &ChildJob| match run.state {
        // The ones that failed stay, for their logs. A Job that is suspended has no deadline.
        JobState::Running if !run.suspended && run.deadline.is_none() => {
            ApiWrite::Patch(child, Change { deadline: Some(1), ..Change::default() })
        }
        JobState::Running if run.suspended => ApiWrite::Delete(child, run.uid.clone()),
        _ => ApiWrite::Rest,
    };
    match stop(seen, end) {
        Pods::End(step) => Decision::write(step),
        Pods::Ending => Decision::rest(None),
        Pods::None if is_held(job) => match job.spec.cleanup {
            Cleanup::Always => remove_data(seen, None),
            // Kept for a look, until the job is deleted.
            Cleanup::OnSuccess => expired(job, seen.now),
            Cleanup::Never => Decision::write(ApiWrite::RemoveFinalizer(None)),
        },
        Pods::None => expired(job, seen.now),
    }
}

/// The pods of all phases.
enum Pods {
    /// There are none.
    None,
    /// They are on their way out.
    Ending,
    /// This ends some.
    End(ApiWrite),
}

fn stop(seen: &Observed, end: impl Fn(Child, &ChildJob) -> ApiWrite) -> Pods {
    let unfinished =
        |child: &Child| Some((*child, seen.child(*child).ours().filter(|run| !run.is_finished())?));
    let unfinished: Vec<_> = Child::PHASES.iter().filter_map(unfinished).collect();
    if unfinished.is_empty() {
        return Pods::None;
    }
    let mut steps = unfinished.iter().filter(|(_, run)| !run.deleting).map(|(child, run)| end(*child, run));
    steps.find(|step| *step != ApiWrite::Rest).map_or(Pods::Ending, Pods::End)
}

fn remove_data(seen: &Observed, wake: Option<Duration>) -> Decision {
    let gave_up = |why: &str| {
        Decision::write(ApiWrite::RemoveFinalizer(Some(format!("intermediate data may be left: {why}"))))
    };
    if let Some(refused) = seen.refused.as_ref().filter(|refused| refused.permanent.is_some()) {
        return gave_up(&refused.message);
    }
    match &seen.cleanup {
        // A refusal for now, and an object that is about to be removed: both are tried again.
        _ if seen.refused.is_some() => Decision::rest(Some(Duration::from_secs(5))),
        ChildState::Leftover => Decision::rest(Some(Duration::from_secs(1))),
        ChildState::Unread | ChildState::Absent => {
            Decision::write(ApiWrite::Create(Child::Cleanup, Size::ONE))
        }
        ChildState::Foreign => gave_up("the cleanup Job's name is somebody else's"),
        ChildState::Ours(run) => match &run.state {
            JobState::Complete => Decision::write(ApiWrite::RemoveFinalizer(None)),
            JobState::Failed(why) => gave_up(&format!("the cleanup Job failed: {why}")),
            JobState::Running | JobState::Failing(_) => Decision::rest(wake),
        },
    }
}

/// A job that has ended and waits for the end of `ttlSecondsAfterFinished`.
pub fn expired(job: &MapReduceJob, now: Timestamp) -> Decision {
    let end = job.status.as_ref().and_then(|s| s.completion_time.as_ref());
    let (Some(ttl), Some(end)) = (job.spec.ttl_seconds_after_finished, end) else {
        return Decision::rest(None);
    };
    let left = SignedDuration::from_secs(i64::from(ttl)).saturating_sub(now.duration_since(end.0));
    if left <= SignedDuration::ZERO {
        Decision::write(ApiWrite::DeleteSelf)
    } else {
        Decision::rest(Some(until(left)))
    }
}
