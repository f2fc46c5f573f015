//! All there is beside the operators: the API server's objects, who changes them, what is to happen when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::fake_api::store::{Key, Store, written};
use crate::garbage::OWNERS;
use crate::job_controller::Tracked;
use crate::kubelet::{NODES, PodPlan};
use crate::objects::{KUBELET, find, is_deleting, is_held_by, key, namespace_key, owner, uid};
use crate::oracle::Oracle;
use crate::planted::Planted;
use crate::random::Random;
use crate::requests::{Answered, Request};
use crate::user::{Action, Truth};

/// Milliseconds since the begin.
pub(crate) type Time = u64;
pub(crate) const SECOND: Time = 1000;
pub(crate) const MINUTE: Time = 60 * SECOND;
pub(crate) const HOUR: Time = 60 * MINUTE;

/// What is to happen.
pub(crate) enum Event {
    /// The API server gets to a request.
    Serve(Request),
    /// Its answer arrives.
    Answer(Answered),
    /// A request takes effect whose sender has given up.
    Late(Request),
    /// An operator's watch delivers.
    Deliver(usize, Watched),
    /// A watch that was broken is begun anew.
    Relist(usize, Watched),
    /// Something in an operator's queue is due.
    Due(usize),
    /// An operator's process, counted, looks for orphans.
    Sweep(usize, u64),
    /// An operator ends, or begins.
    Operator(usize, bool),
    /// An operator's process stands still for so long.
    Pause(usize, Time),
    /// An operator's watch breaks.
    Break(usize, Watched),
    /// The Job controller looks at a Job.
    Sync(String),
    /// The kubelet looks at a pod.
    Pod(String),
    /// A node is away until then.
    LoseNode(usize, Time),
    /// A node is heard of, or missed.
    NodeSays(usize),
    /// A node was missed for long.
    Evict(usize),
    /// The garbage collector and the namespace controller look around.
    Collect,
    /// A person, or another controller, does something.
    User(Action),
    /// Nothing goes wrong any more.
    Heal,
}

/// What an operator watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Watched {
    Jobs,
    Children,
}

/// The world of a seed.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) store: Store,
    pub(crate) oracle: Oracle,
    pub(crate) planted: Option<&'static Planted>,
    /// What is right of each job, by its uid.
    pub(crate) truths: BTreeMap<String, Truth>,
    /// What the Job controller knows of each Job, by its uid.
    pub(crate) tracked: BTreeMap<String, Tracked>,
    /// What becomes of each pod, by its uid.
    pub(crate) plans: BTreeMap<String, PodPlan>,
    /// Of so many requests one goes wrong; never, at 0.
    pub(crate) fault_rate: usize,
    /// The namespace is full: nothing can be created for now.
    pub(crate) quota: bool,
    /// Until when an operator's process stands still.
    pub(crate) paused: [Time; 2],
    /// Until when nodes are away.
    pub(crate) lost: [Time; NODES],
    /// Wakes the loop when there is something new to happen.
    pub(crate) notify: Arc<Notify>,
    pub(crate) trace: Option<Vec<String>>,
    events: BTreeMap<(Time, u64), Event>,
    next: u64,
    /// Jobs that are in the Job controller's queue.
    syncs: BTreeSet<String>,
    collects: bool,
    /// How far controllers have read the history.
    read: usize,
}

std::thread_local! {
    static BEGIN: std::cell::Cell<Option<Instant>> = const { std::cell::Cell::new(None) };
}

/// Time begins anew.
pub(crate) fn begin() {
    BEGIN.set(Some(Instant::now()));
}

pub(crate) fn now() -> Time {
    BEGIN.get().map_or(0, |begin| Instant::now().duration_since(begin).as_millis() as Time)
}

/// The time as objects have it.
pub(crate) fn clock() -> Timestamp {
    const NEW_YEAR_2026: i64 = 1_767_225_600;
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(NEW_YEAR_2026 * 1000 + now() as i64)
}

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut store = Store::default();
        store.clock = Some(clock);
        store.create(
            namespace_key(),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"finalizers": ["kubernetes"]}}),
        );
        Self {
            random: Random::new(seed),
            store,
            oracle: Oracle::default(),
            planted: None,
            truths: BTreeMap::new(),
            tracked: BTreeMap::new(),
            plans: BTreeMap::new(),
            fault_rate: 0,
            quota: false,
            paused: [0; 2],
            lost: [0; NODES],
            notify: Arc::new(Notify::new()),
            trace: trace.then(Vec::new),
            events: BTreeMap::new(),
            next: 0,
            syncs: BTreeSet::new(),
            collects: false,
            read: 0,
        }
    }

    /// Something happens at a time.
    pub(crate) fn at(&mut self, time: Time, event: Event) {
        self.next += 1;
        self.events.insert((time, self.next), event);
        self.notify.notify_one();
    }

    /// Something happens this much later.
    pub(crate) fn after(&mut self, wait: Time, event: Event) {
        self.at(now() + wait, event);
    }

    pub(crate) fn next_time(&self) -> Option<Time> {
        self.events.first_key_value().map(|((time, _), _)| *time)
    }

    /// What is due.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        if self.next_time()? > now() {
            return None;
        }
        self.events.pop_first().map(|(_, event)| event)
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = now();
            trace.push(format!("{:>9}.{:03} {}", time / SECOND, time % SECOND, line()));
        }
    }

    pub(crate) fn time_text() -> String {
        written(clock())
    }

    pub(crate) fn namespace_is_terminating(&self) -> bool {
        self.store.objects.get(&namespace_key()).is_none_or(is_deleting)
    }

    /// Changes an object.
    pub(crate) fn change(&mut self, what: &str, at: &Key, change: impl FnOnce(&mut Value)) {
        let Some(object) = self.store.objects.get(at) else { return };
        let mut object = object.clone();
        change(&mut object);
        self.store.update(what, at.clone(), object);
    }

    /// The Job controller looks at a Job after a while, unless it will do so sooner.
    pub(crate) fn sync(&mut self, job: &str, wait: Time) {
        if self.syncs.insert(job.to_owned()) {
            self.after(wait, Event::Sync(job.to_owned()));
        }
    }

    pub(crate) fn synced(&mut self, job: &str) {
        self.syncs.remove(job);
    }

    /// The garbage collector has its own pace.
    pub(crate) fn collect(&mut self) {
        if !std::mem::replace(&mut self.collects, true) {
            let wait = self.random.wait(20 * SECOND);
            self.after(wait, Event::Collect);
        }
    }

    pub(crate) fn collected(&mut self) {
        self.collects = false;
    }

    /// Wakes the controllers that have to do with what has changed, and lets the oracle judge it.
    pub(crate) fn settle(&mut self) {
        while let Some((_, resource, event)) = self.store.history().get(self.read) {
            self.read += 1;
            let (resource, object) = (resource.clone(), event["object"].clone());
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            match resource.as_str() {
                "jobs" => {
                    let wait = self.random.wait(2 * SECOND);
                    self.sync(uid(&object), wait);
                }
                "pods" => {
                    if let Some(job) = owner(&object) {
                        let (job, wait) = (job.to_owned(), self.random.wait(2 * SECOND));
                        self.sync(&job, wait);
                    }
                    if is_deleting(&object) && is_held_by(&object, KUBELET) {
                        self.end_pod(uid(&object));
                    }
                }
                _ => {}
            }
            let lost = |owner: &str| OWNERS.iter().all(|of| find(&self.store, of, owner).is_none());
            if kind == "DELETED" || is_deleting(&object) || owner(&object).is_some_and(lost) {
                self.collect();
            }
            self.note(|| {
                let meta = &object["metadata"];
                let what = match resource.as_str() {
                    "mapreducejobs" => object["status"]["phase"].to_string(),
                    _ => object["status"].to_string(),
                };
                format!("         {kind} {resource} {} {} {what}", meta["name"], meta["uid"])
            });
            let truths = &self.truths;
            self.oracle.changed(&kind, &resource, &object, truths, &self.store);
        }
    }

    /// A job by its name.
    pub(crate) fn job(&self, name: &str) -> Option<&Value> {
        self.store.objects.get(&key("mapreducejobs", name))
    }
}
