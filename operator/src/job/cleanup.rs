//! The end of a job: its pods, its intermediate data, the finalizer, the resource itself. Pure.
//!
//! The operator holds no credentials of a bucket, so a pod of the job removes the data: after a failure,
//! or while a deleted job is held. A deleted job is held for as long as that gets on, a failed one until it is done.
//! Nothing waits in a namespace that is being deleted itself. A job that has succeeded has removed its data before it said so.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mapreduce_api::v1alpha1::{Cleanup, JobPhase, MapReduceJob};

use super::build::jobs::Size;
use super::build::names::Child;
use super::decision::{ApiWrite, Change, Decision, is_held, sooner, until};
use super::observed::{ChildJob, ChildState, JobState, Observed, Starting};
use super::status::{Draft, PLANNED, is_true};
use crate::context::Limits;
use crate::time::signed;

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
    let left = patience_left(job, seen, limits);
    if left <= SignedDuration::ZERO {
        let note = format!(
            "intermediate data may be left: nothing has got on with removing it for {} s",
            patience(job, limits).as_secs()
        );
        return Decision::write(ApiWrite::RemoveFinalizer(Some(note)));
    }
    let wake = look_again(seen, look_at_cleanup(seen, Some(until(left)), limits));
    // Pods first: what they write after the cleanup would stay.
    match stop(seen, end) {
        Pods::End(step) => Decision::write(step),
        Pods::Ending => Decision::rest(wake),
        // The patience with a deleted job is counted above.
        Pods::None => remove_data(job, seen, wake, If::GivesUp(SignedDuration::MAX)),
    }
}

/// How long a deleted job is held without any progress. Where not even the plan's pod could start, there is hardly
/// anything to remove, and what kept that pod from starting will keep the one that would remove it.
fn patience(job: &MapReduceJob, limits: &Limits) -> SignedDuration {
    let never_started = job.status.as_ref().is_some_and(|status| status.amendable == Some(true));
    let patience =
        if never_started { limits.cleanup_timeout.min(limits.start_grace) } else { limits.cleanup_timeout };
    signed(patience)
}

/// How much of it is left. Each of these is progress: the deletion itself, the cleanup that begins, its pod that runs.
fn patience_left(job: &MapReduceJob, seen: &Observed, limits: &Limits) -> SignedDuration {
    let limit = patience(job, limits);
    let run = seen.cleanup.ours();
    // A pod that removes objects may take its time; the Job's own deadline ends one that hangs.
    if run.is_some_and(|run| run.ready > 0 && run.state == JobState::Running) {
        return limit;
    }
    let deleted = job.metadata.deletion_timestamp.as_ref().map(|t| t.0);
    let begun = run.and_then(|run| run.created.as_ref()).map(|t| t.0);
    let since = deleted.max(begun).unwrap_or(seen.now);
    limit.saturating_sub(seen.now.duration_since(since))
}

/// A job whose namespace is being deleted, and that is not itself deleted yet: Kubernetes deletes pods
/// first, and nothing else before they are gone. A Job with `backoffLimitPerIndex` doesn't let go of a pod
/// that has failed before it has made another, which it never can there: the namespace would stay for ever.
pub fn namespace_deleted(seen: &Observed) -> Decision {
    let all = Child::PHASES.into_iter().chain([Child::Report, Child::Cleanup]);
    let unfinished = all.filter_map(|child| Some((child, seen.child(child).ours()?)));
    let mut unfinished = unfinished.filter(|(_, run)| !run.is_finished() && !run.deleting);
    match unfinished.next() {
        Some((child, run)) => Decision::write(ApiWrite::Delete(child, run.uid.clone())),
        // A lost node may hold the namespace for hours.
        None => Decision::rest(Some(Duration::from_secs(30))),
    }
}

/// A job that has failed: its other pods are ended, and then its data is removed.
pub fn failed(job: &MapReduceJob, seen: &Observed, limits: &Limits) -> Decision {
    let expiry = expired(job, seen.now);
    match stop(seen, end) {
        Pods::End(step) => Decision::write(step),
        // A pod that doesn't end, on a node that can't be read of, must not keep the job past its time for ever.
        Pods::Ending if expiry.write == ApiWrite::DeleteSelf && has_been_over(job, seen.now, limits) => {
            expiry
        }
        Pods::Ending => Decision::rest(look_again(seen, sooner(expiry.wake, Some(limits.cleanup_timeout)))),
        Pods::None if is_held(job) => match job.spec.cleanup {
            Cleanup::Always => {
                // Without a plan there is hardly anything to remove, and what kept it from being made keeps that too.
                let planned = job.status.as_ref().is_some_and(|status| is_true(status, PLANNED));
                let unless = if planned { If::TriesAgain } else { If::GivesUp };
                let wake = look_at_cleanup(seen, expiry.wake, limits);
                remove_data(job, seen, wake, unless(signed(limits.cleanup_timeout)))
            }
            // Kept for a look, until the job is deleted.
            Cleanup::OnSuccess => expiry,
            Cleanup::Never => Decision::write(ApiWrite::RemoveFinalizer(None)),
        },
        Pods::None => expiry,
    }
}

/// Whether a job ended longer ago than its pods are given to end.
fn has_been_over(job: &MapReduceJob, now: Timestamp, limits: &Limits) -> bool {
    let end = job.status.as_ref().and_then(|s| s.completion_time.as_ref());
    end.is_some_and(|end| now.duration_since(end.0) > signed(limits.cleanup_timeout))
}

/// How a Job is ended: its pods that failed stay, for their logs. A Job that is suspended has no deadline.
fn end(child: Child, run: &ChildJob) -> ApiWrite {
    match run.state {
        JobState::Running if run.suspended => ApiWrite::Delete(child, run.uid.clone()),
        JobState::Running if run.deadline.is_none() => {
            ApiWrite::Patch(child, run.uid.clone(), Change { deadline: Some(1), ..Change::default() })
        }
        _ => ApiWrite::Rest,
    }
}

/// The pods of all phases.
enum Pods {
    /// None that may still write.
    None,
    /// They are on their way out.
    Ending,
    /// This ends some.
    End(ApiWrite),
}

fn stop(seen: &Observed, end: impl Fn(Child, &ChildJob) -> ApiWrite) -> Pods {
    let unfinished = |child: &Child| Some((*child, seen.child(*child).ours().filter(|run| run.may_write())?));
    let unfinished: Vec<_> = Child::PHASES.iter().filter_map(unfinished).collect();
    if unfinished.is_empty() {
        return Pods::None;
    }
    let mut steps = unfinished.iter().filter(|(_, run)| !run.deleting).map(|(child, run)| end(*child, run));
    steps.find(|step| *step != ApiWrite::Rest).map_or(Pods::Ending, Pods::End)
}

/// The sooner of a wake and the next look at a cleanup whose pod isn't ready: its worker may have ended while a container that
/// was injected goes on, and the Job's counts don't change then.
fn look_at_cleanup(seen: &Observed, wake: Option<Duration>, limits: &Limits) -> Option<Duration> {
    let unready = |run: &ChildJob| run.state == JobState::Running && run.active > run.ready;
    if seen.cleanup.ours().is_some_and(unready) { sooner(wake, Some(limits.start_grace)) } else { wake }
}

/// The sooner of a wake and the next look at pods that may be lost.
fn look_again(seen: &Observed, wake: Option<Duration>) -> Option<Duration> {
    match &seen.starting {
        Starting::NotDue(wait) => sooner(wake, Some(*wait)),
        _ => wake,
    }
}

/// What a cleanup leads to that has failed, or whose pod could not start for so long.
#[derive(Clone, Copy)]
enum If {
    /// The job is let go: somebody wants it gone, or there is hardly anything.
    GivesUp(SignedDuration),
    /// It is made anew; the data stays until then.
    TriesAgain(SignedDuration),
}

fn remove_data(job: &MapReduceJob, seen: &Observed, wake: Option<Duration>, unless: If) -> Decision {
    let gave_up = |why: &str| {
        Decision::write(ApiWrite::RemoveFinalizer(Some(format!("intermediate data may be left: {why}"))))
    };
    let pause = seen.creation(Child::Cleanup).and_then(|creation| creation.pause(seen.now));
    if let Some(refused) = seen.refused.as_ref().filter(|refused| refused.permanent.is_some()) {
        return gave_up(&refused.message);
    }
    match &seen.cleanup {
        // A refusal for now, and an object that is about to be removed: both are tried again.
        ChildState::Unread | ChildState::Absent if pause.is_some() => Decision::rest(sooner(wake, pause)),
        ChildState::Unread | ChildState::Absent if seen.refused.is_some() => {
            Decision::rest(sooner(wake, Some(Duration::from_secs(5))))
        }
        ChildState::Leftover => Decision::rest(Some(Duration::from_secs(1))),
        ChildState::Orphan(uid) => Decision::write(ApiWrite::DeleteOrphan(Child::Cleanup, uid.clone())),
        ChildState::Unread | ChildState::Absent => {
            Decision::write(ApiWrite::Create(Child::Cleanup, Size::ONE))
        }
        ChildState::Foreign => gave_up("the cleanup Job's name is somebody else's"),
        ChildState::Ours(run) => match (&run.state, unless) {
            (JobState::Complete, _) => Decision::write(ApiWrite::RemoveFinalizer(None)),
            (JobState::Failed(why), If::GivesUp(_)) => gave_up(&format!("the cleanup Job failed: {why}")),
            (JobState::Failed(why), If::TriesAgain(_)) => cleanup_again(job, seen, run, why),
            (JobState::Running, If::TriesAgain(stuck) | If::GivesUp(stuck))
                if run.ready == 0 && run.failed == 0 =>
            {
                let since = run.created.as_ref().map_or(seen.now, |t| t.0);
                let left = stuck.saturating_sub(seen.now.duration_since(since));
                match unless {
                    _ if left > SignedDuration::ZERO => Decision::rest(sooner(wake, Some(until(left)))),
                    If::GivesUp(_) => gave_up("the cleanup's pod could not start"),
                    If::TriesAgain(_) => cleanup_again(job, seen, run, "its pod could not start"),
                }
            }
            (JobState::Running | JobState::Failing(_), _) => Decision::rest(wake),
        },
    }
}

/// Says that the data is still there, and makes room for the next try.
fn cleanup_again(job: &MapReduceJob, seen: &Observed, run: &ChildJob, why: &str) -> Decision {
    let recorded = Draft::of(job, seen.now).cleanup_failed(why).done();
    if job.status.as_ref() != Some(&recorded) {
        return Decision::write(ApiWrite::Record(Box::new(recorded)));
    }
    // Its time is over: the deletion tries once more, and not for ever.
    let expiry = expired(job, seen.now);
    if expiry.write == ApiWrite::DeleteSelf {
        return expiry;
    }
    if run.deleting {
        return Decision::rest(look_again(seen, Some(Duration::from_secs(5))));
    }
    Decision::write(ApiWrite::Delete(Child::Cleanup, run.uid.clone()))
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
