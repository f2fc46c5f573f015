//! What `kubectl describe` tells of a job: derived from what a write changed, so that each is told once.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType};
use mapreduce_api::v1alpha1::{JobPhase, MapReduceJob, MapReduceJobStatus};

use super::status::{COMPLETE, FAILED, PLANNED, PROGRESSING, SUSPENDED, condition, is_true};
use crate::context::Context;

/// The API server refuses a note of more than 1 kB.
const MAX_NOTE: usize = 1024;

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

/// What is worth telling of a change of the status.
pub fn of_change(old: &MapReduceJobStatus, new: &MapReduceJobStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let message = |kind: &str| condition(new, kind).map(|c| c.message.clone()).unwrap_or_default();
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
    match (is_true(old, SUSPENDED), is_true(new, SUSPENDED)) {
        (false, true) => notices.push(Notice::normal("Suspended", "pods are ended, what is done stays done")),
        (true, false) => notices.push(Notice::normal("Resumed", "")),
        _ => {}
    }
    let stuck = |status: &MapReduceJobStatus| {
        condition(status, PROGRESSING).filter(|c| c.status == "False").map(|c| c.reason.clone())
    };
    match stuck(new) {
        Some(reason) if reason == "Queued" => {}
        Some(reason) if stuck(old).as_ref() != Some(&reason) => {
            notices.push(Notice::warning(&reason, message(PROGRESSING)));
        }
        _ => {}
    }
    notices
}

/// Publishes events, best effort: in a namespace that is being deleted none can be.
pub async fn publish(context: &Context, job: &MapReduceJob, notices: Vec<Notice>) {
    publish_about(context, &job.object_ref(&()), notices).await;
}

/// The same about an object that may not be readable.
pub async fn publish_about(context: &Context, about: &ObjectReference, notices: Vec<Notice>) {
    // Without its version: the recorder joins repeated events about the same object.
    let about = ObjectReference { resource_version: None, ..about.clone() };
    for notice in notices {
        let event = Event {
            type_: if notice.warning { EventType::Warning } else { EventType::Normal },
            action: "Reconcile".to_owned(),
            reason: notice.reason,
            note: Some(short(notice.note)).filter(|note| !note.is_empty()),
            secondary: None,
        };
        if let Err(error) = context.recorder.publish(&event, &about).await {
            tracing::debug!(job = about.name, reason = event.reason, "Event not published: {error}");
        }
    }
}

fn short(mut note: String) -> String {
    if note.len() > MAX_NOTE {
        let mut end = MAX_NOTE - "…".len();
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let note = short("é".repeat(1000));
        assert!(note.len() <= 1024 && note.ends_with("é…"), "{}", note.len());
        assert_eq!(short("short".to_owned()), "short");
    }
}
