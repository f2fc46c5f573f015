//! What `kubectl describe` tells of a job: derived from what a write changed, so that each is told once.

use mapreduce_api::v1alpha1::{JobPhase, MapReduceJobStatus};

use super::status::{
    COMPLETE, FAILED, PLANNED, PROGRESSING, QUEUED, RETRYING, SUSPENDED, condition, is_true,
};

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

impl Notice {
    /// Something that went as it should.
    pub fn normal(reason: &str, note: impl Into<String>) -> Self {
        Self { warning: false, reason: reason.to_owned(), note: note.into() }
    }

    /// Something that somebody should look at.
    pub fn warning(reason: &str, note: impl Into<String>) -> Self {
        Self { warning: true, reason: reason.to_owned(), note: note.into() }
    }
}

/// Whether the job waits in a queue: each phase does, and Kueue tells of it.
fn is_queued(status: &MapReduceJobStatus) -> bool {
    condition(status, SUSPENDED).is_some_and(|c| c.status == "True" && c.reason == QUEUED)
}

/// What is worth telling of a change of the status.
pub fn of_change(old: &MapReduceJobStatus, new: &MapReduceJobStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let message = |kind: &str| condition(new, kind).map(|c| c.message.clone()).unwrap_or_default();
    if old.revision.is_some() && new.revision != old.revision {
        let note = "the job was changed before a pod of it had started: its Job is made anew";
        notices.push(Notice::normal("Amended", note));
    }
    if is_true(new, PLANNED) && !is_true(old, PLANNED) {
        notices.push(Notice::normal("Planned", message(PLANNED)));
    }
    if (new.phase, &new.step) != (old.phase, &old.step) {
        let step = new.step.as_ref().map(|step| format!("step {}: ", step.name)).unwrap_or_default();
        let tasks = |counts: Option<&mapreduce_api::v1alpha1::PhaseCounts>| counts.map_or(0, |c| c.total);
        match new.phase {
            Some(JobPhase::Planning) => {
                let first = new.step.as_ref().is_none_or(|step| step.number == 1);
                let what =
                    if first { "listing the input" } else { "dividing what the step before has written" };
                notices.push(Notice::normal("Planning", format!("{step}{what}")));
            }
            Some(JobPhase::Mapping) => {
                let note = format!("{step}{} map tasks", tasks(new.maps.as_ref()));
                notices.push(Notice::normal("Mapping", note));
            }
            Some(JobPhase::Reducing) => {
                let note = format!("{step}{} reduce tasks", tasks(new.reduces.as_ref()));
                notices.push(Notice::normal("Reducing", note));
            }
            Some(JobPhase::Succeeded) => notices.push(Notice::normal("Succeeded", message(COMPLETE))),
            Some(JobPhase::Failed) => {
                notices.push(Notice::warning(new.reason.as_deref().unwrap_or("Failed"), message(FAILED)));
            }
            Some(JobPhase::Pending) | None => {}
        }
    }
    let suspended = |status| is_true(status, SUSPENDED) && !is_queued(status);
    match (suspended(old), suspended(new)) {
        (false, true) => notices.push(Notice::normal("Suspended", "pods are ended, what is done stays done")),
        (true, false) => notices.push(Notice::normal("Resumed", "")),
        _ => {}
    }
    let failure = |status: &MapReduceJobStatus| {
        condition(status, PROGRESSING).filter(|c| c.reason == RETRYING).map(|c| c.message.clone())
    };
    match failure(new) {
        Some(error) if failure(old).as_ref() != Some(&error) => {
            notices.push(Notice::warning(RETRYING, error));
        }
        _ => {}
    }
    let stuck = |status: &MapReduceJobStatus| {
        let told = condition(status, PROGRESSING)?;
        let slowed = told.status == "True" && told.reason != RETRYING && !told.message.is_empty();
        (told.status == "False" || slowed).then(|| told.reason.clone())
    };
    match stuck(new) {
        Some(reason) if reason == QUEUED => {}
        Some(reason) if stuck(old).as_ref() != Some(&reason) => {
            notices.push(Notice::warning(&reason, message(PROGRESSING)));
        }
        _ => {}
    }
    notices
}
