//! A job whose first pod can't start may be mended: a wrong Secret, image, node selector or account. Pure.
//!
//! ```text
//!  the plan's pod waits ──> status.amendable ──> the API server takes changes of all that a run has fixed
//!  the job was changed  ──> status.revision is the new one ──> Job and ConfigMap of the old one go, and are made anew
//!  the pod has started  ──> not amendable any more
//! ```
//!
//! A pod may start between the last look and the change. Then either it is seen, and the run goes on as it was begun; or
//! its plan is there, which names its revision: pods of another one don't take it.

use mapreduce_api::v1alpha1::{JobPhase, MapReduceJob};

use super::build::revision;
use super::decision::{ApiWrite, Decision};
use super::invalid::Invalid;
use super::observed::{ChildJob, Observed, Starting};
use super::status::Draft;
use super::steps;
use super::validate::ValidatedJob;

/// Takes what was changed of a job of which no pod has started.
pub fn amended(
    job: &MapReduceJob,
    valid: &Result<ValidatedJob, Invalid>,
    seen: &Observed,
) -> Option<Decision> {
    let status = job.status.as_ref().filter(|status| status.amendable == Some(true))?;
    let digest = revision::digest_of(job).ok()?;
    if status.revision.as_ref() == Some(&digest) || seen.plan.ours().is_some_and(ChildJob::has_started) {
        return None;
    }
    let draft = Draft::of(job, seen.now).suspension(job.spec.suspend);
    let new = match valid {
        Ok(_) => draft.revision(Some(digest)).done(),
        // It waits as before, for one that can be run.
        Err(invalid) => draft.stuck("InvalidSpec", &invalid.to_string()).done(),
    };
    let same = *status == new;
    Some(if same { Decision::rest(None) } else { Decision::write(ApiWrite::Record(Box::new(new))) })
}

/// Whether a Job is of a revision that the run had before it was mended.
pub fn is_outdated(job: &MapReduceJob, run: &ChildJob) -> bool {
    let recorded = job.status.as_ref().and_then(|status| status.revision.as_ref());
    run.revision.is_some() && recorded.is_some() && run.revision.as_ref() != recorded
}

/// Whether the phase is one before which nothing of the run has started.
pub fn is_first(job: &MapReduceJob) -> bool {
    let Some(status) = &job.status else { return false };
    status.phase == Some(JobPhase::Planning) && status.revision.is_some() && steps::at(job).is_first()
}

/// What a look at the first phase's pods says of whether the job may be mended; none where it says nothing.
pub fn amendable(job: &MapReduceJob, run: &ChildJob, starting: &Starting) -> Option<bool> {
    match starting {
        _ if !is_first(job) || run.has_started() => Some(false),
        Starting::Waiting(waiting) => Some(waiting.none_started && waiting.stuck.is_some()),
        Starting::All => Some(false),
        Starting::Unread | Starting::NotDue(_) => None,
    }
}
