//! Last words that are lost, unclear or were never written: a full disk, a pod that was collected before it was read.
//! A small pod reads plan or `_SUCCESS` from the bucket and says them again, a bounded number of times. Pure.

use k8s_openapi::jiff::SignedDuration;
use mapreduce_api::v1alpha1::{JobPhase, MapReduceJob};

use super::build::jobs::Size;
use super::build::names::Child;
use super::decision::{ApiWrite, Decision, until};
use super::observed::{ChildJob, ChildState, JobState, Observed, PodReport};

/// How often a pod is asked at most, or the API server for one.
const MAX_ASKED: u32 = 5;

/// What has come of asking again.
#[derive(Debug)]
pub enum Restated {
    /// This was said.
    Said(PodReport),
    /// It is under way.
    Decide(Decision),
    /// Nobody can say it.
    GivenUp,
}

/// Asks once more what the pods of a phase's Job, which is complete, should have said.
pub fn restate(job: &MapReduceJob, seen: &Observed, phase: JobPhase, done: &ChildJob) -> Restated {
    let soon = || Restated::Decide(Decision::rest(Some(until(SignedDuration::from_secs(1)))));
    let delete =
        |run: &ChildJob| Restated::Decide(Decision::write(ApiWrite::Delete(Child::Report, run.uid.clone())));
    if seen.refused.as_ref().is_some_and(|refused| refused.permanent.is_some()) {
        return Restated::GivenUp;
    }
    match &seen.report {
        ChildState::Unread | ChildState::Absent => ask(job, seen),
        ChildState::Leftover => soon(),
        ChildState::Orphan(uid) => {
            Restated::Decide(Decision::write(ApiWrite::DeleteOrphan(Child::Report, uid.clone())))
        }
        ChildState::Foreign => Restated::GivenUp,
        ChildState::Ours(run) if run.deleting => soon(),
        ChildState::Ours(run) if is_of_earlier_phase(run, done) => delete(run),
        ChildState::Ours(run) => match (&run.state, &seen.restated, phase) {
            (JobState::Running | JobState::Failing(_), _, _) => Restated::Decide(Decision::rest(None)),
            (JobState::Failed(_), _, _) => Restated::GivenUp,
            (JobState::Complete, said @ PodReport::Finished(_), _)
            | (JobState::Complete, said @ PodReport::Planned(_), JobPhase::Planning) => {
                Restated::Said(said.clone())
            }
            // Lost as well, or said of an earlier phase.
            (JobState::Complete, _, _) => delete(run),
        },
    }
}

fn ask(job: &MapReduceJob, seen: &Observed) -> Restated {
    if job.spec.suspend {
        return Restated::Decide(Decision::rest(None));
    }
    let asked = seen.creation(Child::Report);
    if asked.is_some_and(|asked| asked.made.max(asked.refused) >= MAX_ASKED) {
        return Restated::GivenUp;
    }
    Restated::Decide(match asked.and_then(|asked| asked.pause(seen.now)) {
        Some(pause) => Decision::rest(Some(pause)),
        None => Decision::write(ApiWrite::Create(Child::Report, Size::ONE)),
    })
}

fn is_of_earlier_phase(report: &ChildJob, done: &ChildJob) -> bool {
    let times = report.created.as_ref().zip(done.completion_time.as_ref());
    times.is_some_and(|(asked, done)| asked.0 < done.0)
}
