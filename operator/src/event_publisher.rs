//! Publishes events beside the passes: a pass doesn't wait for it, and does not fail by it.
//!
//! An event's name is made from what it says, so that two operators, or one that was started again, tell the
//! same thing once; what is told again is counted in the event that is there.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::job::events::Notice;
use crate::kube_ext::{self, CreateOutcome, MANAGER};
use crate::text::shortened;

/// Most events that wait; more than these are not told.
const MAX_QUEUED: usize = 4096;
/// How long it is known how often an event was told.
const COUNTED_FOR: Duration = Duration::from_mins(10);
/// The API server refuses a note of more than 1 kB.
const MAX_NOTE: usize = 1024;

/// Where events are left to be published. Clones share the queue.
#[derive(Clone, Debug)]
pub struct EventPublisher(mpsc::Sender<Queued>);

#[derive(Debug)]
enum Queued {
    Event(Box<Event>),
    /// Answered when all before it is published.
    Flush(oneshot::Sender<()>),
}

impl EventPublisher {
    /// Starts publishing in a task of its own.
    pub fn start(client: Client) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        tokio::spawn(publish_all(client, receiver));
        Self(sender)
    }

    /// Leaves notices about an object to be published.
    pub fn publish(&self, about: &ObjectReference, notices: Vec<Notice>) {
        for notice in notices {
            if self.0.try_send(Queued::Event(Box::new(event(about, notice)))).is_err() {
                tracing::debug!(object = about.name, "Too many events wait: one is not told.");
            }
        }
    }

    /// Waits until all that was left so far is published.
    pub async fn flush(&self) {
        let (published, all) = oneshot::channel();
        if self.0.send(Queued::Flush(published)).await.is_ok() {
            let _ = all.await;
        }
    }
}

fn event(about: &ObjectReference, notice: Notice) -> Event {
    // Without its version: it is the same object whenever something is told of it.
    let about = ObjectReference { resource_version: None, ..about.clone() };
    let note = shortened(notice.note, MAX_NOTE);
    let mut said = DefaultHasher::new();
    (&about.uid, notice.warning, &notice.reason, &note).hash(&mut said);
    let name = format!("{}.{:016x}", about.name.as_deref().unwrap_or_default(), said.finish());
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(Timestamp::now())),
        type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(notice.reason),
        note: Some(note).filter(|note| !note.is_empty()),
        action: Some("Reconcile".to_owned()),
        regarding: Some(about),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(MANAGER.to_owned()),
        ..Event::default()
    }
}

async fn publish_all(client: Client, mut queue: mpsc::Receiver<Queued>) {
    let mut told: HashMap<(Option<String>, String), (i32, Instant)> = HashMap::new();
    while let Some(queued) = queue.recv().await {
        let event = match queued {
            Queued::Event(event) => event,
            Queued::Flush(published) => {
                let _ = published.send(());
                continue;
            }
        };
        told.retain(|_, (_, last)| last.elapsed() < COUNTED_FOR);
        let (count, last) =
            told.entry((event.namespace(), event.name_any())).or_insert_with(|| (0, Instant::now()));
        *last = Instant::now();
        *count += 1;
        // Best effort: in a namespace that is being deleted none can be published.
        if let Err(error) = publish_one(&client, &event, count).await {
            tracing::debug!(event = event.name_any(), reason = event.reason, "Event not published: {error}");
        }
    }
}

async fn publish_one(client: &Client, event: &Event, count: &mut i32) -> Result<(), kube::Error> {
    let api: Api<Event> = Api::namespaced(client.clone(), &event.namespace().unwrap_or_default());
    if *count == 1 {
        match kube_ext::create(&api, event).await? {
            CreateOutcome::New(_) => return Ok(()),
            // Another operator, or this one before it was started again, has told it.
            CreateOutcome::Exists => *count = 2,
        }
    }
    let now = event.event_time.clone().unwrap_or(MicroTime(Timestamp::UNIX_EPOCH));
    let series = EventSeries { count: *count, last_observed_time: now };
    kube_ext::patch_opt(&api, &event.name_any(), &json!({"series": series})).await.map(drop)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::event;
    use crate::job::events::Notice;

    #[test]
    fn events_of_different_text_have_different_names() {
        let about = ObjectReference { name: Some("wc".into()), uid: Some("u".into()), ..Default::default() };
        let name = |note: &str| event(&about, Notice::warning("Retrying", note)).metadata.name.unwrap();
        assert_eq!(name("task 1 failed"), name("task 1 failed"));
        assert_ne!(name("task 1 failed"), name("task 2 failed"));
        assert!(name("task 1 failed").starts_with("wc."));
    }
}
