//! The one next write, decided from what is recorded and what was seen. Pure.
//!
//! ```text
//!  Pending ──> Planning ──> Mapping ──> Reducing ──> Succeeded
//!     │            │ ╲          │ ╲_______________↗ map-only
//!     │            │  ╲_________│__________________↗ empty input
//!     └────────────┴────────────┴───────────┴──────> Failed
//! ```
//!
//! A job with steps goes from a step's last phase to the next one's planning.
//!
//! The order within a phase: record it, make its Job, record its counts, and with its end the next phase.
//! Whatever is recorded holds, whether its Job is there or not.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use mapreduce_api::v1alpha1::{Cleanup, JobPhase, MapReduceJob, MapReduceJobStatus};
use mapreduce_api::wire::JobSummary;

use super::build::jobs::Size;
use super::build::labels;
use super::build::names::Child;
use super::build::revision;
use super::decision::{ApiWrite, Change, Decision, is_held, sooner, until};
use super::invalid::Invalid;
use super::observed::{
    ChildJob, ChildState, Failure, JobState, Observed, PodReport, Reason, Refusal, STORE_UNAVAILABLE,
    Starting, Waiting, Workload,
};
use super::restate::{self, Restated};
use super::status::{Draft, PROGRESSING, QUEUED, active_for, condition};
use super::validate::ValidatedJob;
use super::{amend, cleanup, steps};
use crate::context::Limits;

/// Most tasks of an Indexed Job.
const MAX_TASKS: u32 = 100_000;
/// How often a Job is made at most. It is made again when somebody has deleted it.
const MAX_MADE: u32 = 12;
/// How long to wait for something that the garbage collector is about to remove.
const SOON: Duration = Duration::from_secs(1);

/// The next write.
pub fn decide(
    job: &MapReduceJob,
    valid: &Result<ValidatedJob, Invalid>,
    seen: &Observed,
    limits: &Limits,
) -> Decision {
    if !seen.lost_pods.is_empty() {
        return Decision::write(ApiWrite::RemovePods(seen.lost_pods.clone()));
    }
    if job.metadata.deletion_timestamp.is_some() {
        return cleanup::deleted(job, seen, limits);
    }
    if seen.namespace_terminating {
        return cleanup::namespace_deleted(seen);
    }
    let phase = job.status.as_ref().and_then(|s| s.phase).unwrap_or(JobPhase::Pending);
    match phase {
        JobPhase::Succeeded if is_held(job) => Decision::write(ApiWrite::RemoveFinalizer(None)),
        JobPhase::Succeeded => cleanup::expired(job, seen.now),
        JobPhase::Failed => cleanup::failed(job, seen, limits),
        JobPhase::Pending => match valid {
            Err(invalid) => fail(job, seen, Reason::InvalidSpec, invalid.to_string()),
            Ok(_) => begin(job, seen),
        },
        JobPhase::Planning => {
            amend::amended(job, valid, seen).unwrap_or_else(|| active(job, seen, limits, phase, Child::Plan))
        }
        JobPhase::Mapping => active(job, seen, limits, phase, Child::Map),
        JobPhase::Reducing => active(job, seen, limits, phase, Child::Reduce),
    }
}

fn fail(job: &MapReduceJob, seen: &Observed, reason: Reason, message: String) -> Decision {
    let failed = Draft::of(job, seen.now).failed(&Failure { reason, message, attempts: 0 });
    Decision::write(ApiWrite::Record(Box::new(failed.done())))
}

/// Records a status if it says something new.
fn record(job: &MapReduceJob, new: MapReduceJobStatus) -> Option<Decision> {
    let same = job.status.as_ref() == Some(&new);
    (!same).then(|| Decision::write(ApiWrite::Record(Box::new(new))))
}

fn begin(job: &MapReduceJob, seen: &Observed) -> Decision {
    if job.spec.suspend {
        let new = Draft::of(job, seen.now).pending().suspension(true).done();
        return record(job, new).unwrap_or_else(|| Decision::rest(None));
    }
    if job.spec.cleanup != Cleanup::Never && !is_held(job) {
        return Decision::write(ApiWrite::AddFinalizer);
    }
    let draft = Draft::of(job, seen.now).suspension(false).started();
    let new = draft.revision(revision::digest_of(job).ok()).planning(steps::at(job)).done();
    Decision::write(ApiWrite::Record(Box::new(new)))
}

fn active(job: &MapReduceJob, seen: &Observed, limits: &Limits, phase: JobPhase, child: Child) -> Decision {
    let slot = seen.child(child);
    if let ChildState::Ours(run) = slot
        && amend::is_outdated(job, run)
    {
        return if run.deleting {
            Decision::rest(None)
        } else {
            Decision::write(ApiWrite::Delete(child, run.uid.clone()))
        };
    }
    if let Some(decision) = ended(job, seen, phase, slot) {
        return decision;
    }
    let recorded = job.status.clone().unwrap_or_default();
    if deadline(job, &recorded, seen.now).is_some_and(|left| left <= SignedDuration::ZERO) {
        let active = active_for(&recorded, seen.now).as_secs();
        let limit = job.spec.active_deadline_seconds.unwrap_or_default();
        let message = format!("the job has been active for {active} s (spec.activeDeadlineSeconds: {limit})");
        return fail(job, seen, Reason::DeadlineExceeded, message);
    }
    match slot {
        ChildState::Foreign => {
            let name = child.name_in(job);
            let message = format!("there is a Job {name} that is not this job's: rename one of the two");
            fail(job, seen, Reason::NameTaken, message)
        }
        ChildState::Leftover => Decision::rest(Some(SOON)),
        ChildState::Orphan(uid) => Decision::write(ApiWrite::DeleteOrphan(child, uid.clone())),
        ChildState::Unread | ChildState::Absent => missing(job, seen, limits, child),
        ChildState::Ours(run) => running(job, seen, phase, child, run),
    }
}

/// The end of the phase, if its Job has come to one.
fn ended(job: &MapReduceJob, seen: &Observed, phase: JobPhase, slot: &ChildState) -> Option<Decision> {
    let run = slot.ours()?;
    let url = job.spec.output.url.as_str();
    let draft = || Draft::of(job, seen.now).suspension(job.spec.suspend).counts(phase, run, seen.disrupted);
    let next = steps::at(job).next();
    let succeed = |summary: Option<&JobSummary>| draft().succeeded(url, summary).done();
    let words = match (&run.state, &seen.words) {
        (JobState::Complete, PodReport::Lost | PodReport::Unclear(_)) => {
            match restate::restate(job, seen, phase, run) {
                Restated::Said(report) => &report.clone(),
                Restated::Decide(decision) => return Some(decision),
                Restated::GivenUp => &seen.words,
            }
        }
        (_, words) => words,
    };
    let new = match (&run.state, words) {
        (JobState::Running, _) => return None,
        (_, PodReport::Failed(failure)) => draft().failed(failure).done(),
        (JobState::Failing(why) | JobState::Failed(why), _) => {
            draft().failed(&Failure { reason: Reason::TaskFailed, message: why.clone(), attempts: 0 }).done()
        }
        (JobState::Complete, PodReport::Finished(summary)) => succeed(Some(summary)),
        (JobState::Complete, words) => match (phase, words) {
            (JobPhase::Planning, PodReport::Planned(plan)) if plan.map_tasks > MAX_TASKS => {
                let message = format!(
                    "the plan has {} map tasks, and a Job at most {MAX_TASKS}: raise spec.input.splitSize",
                    plan.map_tasks
                );
                draft().failed(&Failure { reason: Reason::PlanFailed, message, attempts: 0 }).done()
            }
            (JobPhase::Planning, PodReport::Planned(plan)) if plan.map_tasks == 0 => match next {
                // There was nothing to do, and the plan's pod has done it.
                Some(next) => draft().planned(plan).planning(next).done(),
                None => succeed(None),
            },
            (JobPhase::Planning, PodReport::Planned(plan)) => draft().planned(plan).mapping().done(),
            // Planning once more finds the plan that is committed.
            (JobPhase::Planning, PodReport::Lost | PodReport::Unread) => {
                return (!run.deleting)
                    .then(|| Decision::write(ApiWrite::Delete(Child::Plan, run.uid.clone())));
            }
            (JobPhase::Planning, words) => {
                let said = if let PodReport::Unclear(said) = words { said.trim() } else { "" };
                let message = format!("the plan's pod said nothing that this operator understands: `{said}`");
                draft().failed(&Failure { reason: Reason::PlanFailed, message, attempts: 0 }).done()
            }
            (JobPhase::Mapping, _) if !is_map_only(job) => draft().reducing().done(),
            (JobPhase::Mapping | JobPhase::Reducing, _) if let Some(next) = next => {
                draft().planning(next).done()
            }
            // The last task to end does so only once the output is committed.
            _ => succeed(None),
        },
    };
    Some(Decision::write(ApiWrite::Record(Box::new(new))))
}

fn is_map_only(job: &MapReduceJob) -> bool {
    match job.status.as_ref().and_then(|s| s.reduces.as_ref()) {
        Some(reduces) => reduces.total == 0,
        None => steps::at(job).phases().is_map_only(),
    }
}

/// The phase is recorded and has no Job: not yet, or not any more.
fn missing(job: &MapReduceJob, seen: &Observed, limits: &Limits, child: Child) -> Decision {
    let draft = Draft::of(job, seen.now).suspension(job.spec.suspend);
    if let Some(Refusal { permanent, message, .. }) = &seen.refused {
        if let Some(reason) = permanent {
            return fail(job, seen, *reason, message.clone());
        }
        if let Some(failure) = refused_too_long(job, message, seen.now) {
            return fail(job, seen, failure.reason, failure.message);
        }
        let new = draft.stuck("CreateRefused", message).amendable(amend::is_first(job)).done();
        return record(job, new).unwrap_or_else(|| Decision::rest(Some(limits.start_grace)));
    }
    if let Some(decision) = record(job, draft.done()) {
        return decision;
    }
    if job.spec.suspend {
        return Decision::rest(None);
    }
    if let Some(creation) = seen.creation(child) {
        if creation.made > MAX_MADE {
            let message = format!(
                "Job {} was deleted {MAX_MADE} times, by somebody other than the operator or because its pods' reports \
                 were lost: the job is given up",
                child.name_in(job)
            );
            return fail(job, seen, Reason::ChildLost, message);
        }
        if let Some(pause) = creation.pause(seen.now) {
            return Decision::rest(Some(pause));
        }
    }
    Decision::write(ApiWrite::Create(child, size(job, child, limits)))
}

/// A creation that was refused all through `pendingDeadlineSeconds`.
fn refused_too_long(job: &MapReduceJob, says: &str, now: Timestamp) -> Option<Failure> {
    let limit = job.spec.pending_deadline_seconds?;
    let told = condition(job.status.as_ref()?, PROGRESSING).filter(|c| c.status == "False")?;
    let waited = now.duration_since(told.last_transition_time.0).as_secs();
    (waited >= limit).then(|| Failure {
        reason: Reason::PendingDeadlineExceeded,
        attempts: 0,
        message: format!(
            "nothing could be created for {waited} s (spec.pendingDeadlineSeconds: {limit}): {says}"
        ),
    })
}

fn size(job: &MapReduceJob, child: Child, limits: &Limits) -> Size {
    let (status, phases) = (job.status.as_ref(), steps::at(job).phases());
    let (tasks, parallelism) = match child {
        Child::Plan | Child::Report | Child::Cleanup => return Size::ONE,
        Child::Map => (status.and_then(|s| s.maps.as_ref()), phases.map.parallelism),
        Child::Reduce => (status.and_then(|s| s.reduces.as_ref()), phases.reduce.and_then(|r| r.parallelism)),
    };
    let completions = tasks.map_or(1, |counts| counts.total).max(1);
    Size { completions, parallelism: parallelism.unwrap_or(limits.default_parallelism).min(completions) }
}

/// The phase's Job is there and has tasks left.
fn running(job: &MapReduceJob, seen: &Observed, phase: JobPhase, child: Child, run: &ChildJob) -> Decision {
    let now = seen.now;
    let in_queue = run.is_in_queue() && !job.spec.suspend;
    // Time in a queue is not active.
    let left = deadline(job, &job.status.clone().unwrap_or_default(), now).filter(|_| !in_queue);
    let mut wake = left.map(until);
    let mut draft = Draft::of(job, now).counts(phase, run, seen.disrupted);
    draft = if in_queue { draft.queued(&queued(job, child)) } else { draft.suspension(job.spec.suspend) };
    if let Some(error) = &seen.last_failure {
        draft = draft.retrying(error);
    }
    if let Some(amendable) = amend::amendable(job, run, &seen.starting) {
        draft = draft.amendable(amendable);
    }
    if let Some(away) = &seen.store_away {
        draft = draft.stuck(STORE_UNAVAILABLE, away);
    }
    match &seen.starting {
        Starting::Waiting(waiting) => {
            if let Some(failure) = pending_too_long(job, run, waiting, now) {
                return fail(job, seen, failure.reason, failure.message);
            }
            wake = sooner(wake, Some(waiting.again));
            wake = sooner(wake, pending_left(job, run, waiting, now).map(until));
            draft = match &waiting.stuck {
                _ if seen.store_away.is_some() => draft,
                Some(stuck) if waiting.others_run => draft.slowed(&stuck.reason, &stuck.message),
                Some(stuck) => draft.stuck(&stuck.reason, &stuck.message),
                None => draft.progressing(),
            };
        }
        Starting::NotDue(wait) => wake = sooner(wake, Some(*wait)),
        Starting::All if seen.store_away.is_none() => draft = draft.progressing(),
        Starting::Unread if in_queue => draft = draft.stuck(QUEUED, &queued(job, child)),
        Starting::All | Starting::Unread => {}
    }
    wake = sooner(wake, seen.look_again);
    if let Some(decision) = record(job, draft.done()) {
        return decision;
    }
    if run.deleting {
        return Decision::rest(wake);
    }
    if run.queued {
        let uid = run.uid.clone();
        return match (job.spec.suspend, seen.workload) {
            // Kueue would resume at once what we suspend: it is to hold the Job itself, which keeps what is done.
            (true, Workload::Active) => Decision::write(ApiWrite::Hold(child, uid, true)),
            (false, Workload::Held { by_us: true }) => Decision::write(ApiWrite::Hold(child, uid, false)),
            // Tasks that are done are skipped when it is made again.
            (true, Workload::Unknown) => Decision::write(ApiWrite::Delete(child, uid)),
            (true, Workload::Held { .. }) | (false, _) => Decision::rest(wake),
        };
    }
    let change = Change {
        suspend: (run.suspended != job.spec.suspend).then_some(job.spec.suspend),
        parallelism: parallelism(job, child, run).filter(|wanted| *wanted != run.parallelism),
        labels: !run.labelled,
        deadline: None,
    };
    if change == Change::default() {
        Decision::rest(wake)
    } else {
        Decision::write(ApiWrite::Patch(child, run.uid.clone(), change))
    }
}

fn queued(job: &MapReduceJob, child: Child) -> String {
    let queue = job.labels().get(labels::QUEUE).map_or("", String::as_str);
    format!("waiting for Kueue to admit Job {} from queue {queue}", child.name_in(job))
}

/// The parallelism that the job asks for. Where it asks for none, a Job keeps what it was made with: a new default of
/// the operator must not end pods that run.
fn parallelism(job: &MapReduceJob, child: Child, run: &ChildJob) -> Option<i32> {
    let phases = steps::at(job).phases();
    let asked = match child {
        Child::Plan | Child::Report | Child::Cleanup => None,
        Child::Map => phases.map.parallelism,
        Child::Reduce => phases.reduce.and_then(|reduce| reduce.parallelism),
    };
    asked.map(|asked| asked.min(run.completions))
}

/// How much of `activeDeadlineSeconds` is left; `None` without one, or while suspended.
fn deadline(job: &MapReduceJob, recorded: &MapReduceJobStatus, now: Timestamp) -> Option<SignedDuration> {
    let limit = job.spec.active_deadline_seconds.filter(|_| !job.spec.suspend)?;
    Some(SignedDuration::from_secs(limit).saturating_sub(active_for(recorded, now)))
}

/// How much of `pendingDeadlineSeconds` is left; `None` without one, or while other pods of the phase run. A phase that
/// has got somewhere has waited since the time when it was first seen to be stuck.
fn pending_left(
    job: &MapReduceJob,
    run: &ChildJob,
    waiting: &Waiting,
    now: Timestamp,
) -> Option<SignedDuration> {
    let limit = job.spec.pending_deadline_seconds.filter(|_| !waiting.others_run)?;
    let stuck = job.status.as_ref().and_then(|s| condition(s, PROGRESSING)).filter(|c| c.status == "False");
    let since = match stuck {
        _ if run.succeeded == 0 && run.failed == 0 => waiting.since,
        Some(stuck) => stuck.last_transition_time.0.max(waiting.since),
        None => now,
    };
    Some(SignedDuration::from_secs(limit).saturating_sub(now.duration_since(since)))
}

fn pending_too_long(
    job: &MapReduceJob,
    run: &ChildJob,
    waiting: &Waiting,
    now: Timestamp,
) -> Option<Failure> {
    let limit = job.spec.pending_deadline_seconds?;
    let left = pending_left(job, run, waiting, now)?;
    let waited = SignedDuration::from_secs(limit).saturating_sub(left).as_secs();
    (left <= SignedDuration::ZERO).then(|| {
        let why = waiting.stuck.as_ref().map_or("it is still being started", |stuck| &stuck.message);
        Failure {
            reason: Reason::PendingDeadlineExceeded,
            attempts: 0,
            message: format!(
                "a pod has been waiting for {waited} s (spec.pendingDeadlineSeconds: {limit}): {why}"
            ),
        }
    })
}

#[cfg(test)]
#[path = "phase_tests.rs"]
mod tests;
