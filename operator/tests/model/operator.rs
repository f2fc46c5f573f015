//! An operator: `reconcile` as it is, behind the queue and the watches of kube's `Controller`.
//!
//! The queue holds a job once, at the earliest time that was asked for; a job whose pass is under way waits for its end.
//! A watch delivers what has changed, in order and late, some of it twice; after a break it lists what there is, and what
//! was deleted in between is not told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use clap::Parser as _;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event as WatchEvent;
use mapreduce_api::v1alpha1::MapReduceJob;
use mapreduce_operator::args::{Args, Watch as Scope};
use mapreduce_operator::child_objects::{ChildObject, ChildWatch};
use mapreduce_operator::context::Context;
use mapreduce_operator::job::{self, ReconcileError};
use mapreduce_operator::metrics::Metrics;
use mapreduce_operator::orphans;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use crate::objects::{name, of, uid};
use crate::planted::Site;
use crate::requests::{Connection, PASS, Pass};
use crate::world::{Event, MINUTE, Time, Watched, World, clock, now};

type Seen = Arc<DeserializeGuard<MapReduceJob>>;

/// A pass that has ended.
pub(crate) struct Passed {
    pub(crate) operator: usize,
    process: u64,
    job: String,
    uid: String,
    again: Option<Duration>,
    failed: Option<&'static str>,
}

/// Most passes at once.
const CONCURRENCY: usize = 16;

pub(crate) struct Operator {
    number: usize,
    world: Arc<Mutex<World>>,
    passed: UnboundedSender<Passed>,
    /// The process that runs, counted; none runs in between.
    process: u64,
    context: Option<Arc<Context>>,
    cache: BTreeMap<String, Seen>,
    queue: BTreeMap<String, Time>,
    waiting: BTreeSet<String>,
    running: BTreeMap<String, JoinHandle<()>>,
    /// The look for orphans that is under way.
    sweep: Option<JoinHandle<()>>,
    watches: BTreeMap<Watched, Watch>,
    /// What the watch of children has brought into the process's cache.
    children: Option<ChildWatch>,
}

/// Where a watch is.
#[derive(Default)]
struct Watch {
    /// In the history.
    place: usize,
    /// It is broken until it is begun anew.
    broken: bool,
    scheduled: bool,
    /// The children that it has shown: one that leaves the selector is told as deleted.
    shown: BTreeSet<String>,
}

fn args() -> &'static Args {
    static ARGS: OnceLock<Args> = OnceLock::new();
    ARGS.get_or_init(|| Args::try_parse_from(["mapreduce-operator", "--worker-image=worker:1"]).unwrap())
}

impl Operator {
    pub(crate) fn new(number: usize, world: &Arc<Mutex<World>>, passed: UnboundedSender<Passed>) -> Self {
        Self {
            number,
            world: Arc::clone(world),
            passed,
            process: 0,
            context: None,
            cache: BTreeMap::new(),
            queue: BTreeMap::new(),
            waiting: BTreeSet::new(),
            running: BTreeMap::new(),
            sweep: None,
            watches: BTreeMap::new(),
            children: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.context.is_some()
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// A process begins, with nothing remembered.
    pub(crate) fn begin(&mut self) {
        if self.is_running() {
            return;
        }
        self.process += 1;
        let connection = Connection { world: Arc::clone(&self.world), operator: self.number };
        let client = kube::Client::new(connection, "default");
        let mut context = Context::new(client, Arc::new(Metrics::default()), args());
        context.clock = clock;
        self.children = Some(ChildWatch::new(Arc::clone(&context.children)));
        self.context = Some(Arc::new(context));
        self.watches =
            BTreeMap::from([(Watched::Jobs, Watch::default()), (Watched::Children, Watch::default())]);
        self.relist(Watched::Jobs);
        self.relist(Watched::Children);
        self.sweep_later();
    }

    fn sweep_later(&mut self) {
        let mut world = self.world.lock().unwrap();
        let wait = orphans::EVERY.as_millis() as Time + world.paused[self.number].saturating_sub(now());
        world.after(wait, Event::Sweep(self.number, self.process));
    }

    /// Looks for Jobs that nobody else would end.
    pub(crate) fn sweep(&mut self, process: u64) {
        let Some(context) = self.context.clone().filter(|_| process == self.process) else { return };
        if self.sweep.as_ref().is_none_or(JoinHandle::is_finished) {
            let nobody = Pass { operator: self.number, job: String::new(), uid: String::new() };
            let look = async move { drop(orphans::end(&context, &Scope::default()).await) };
            self.sweep = Some(tokio::spawn(PASS.scope(nobody, look)));
        }
        self.sweep_later();
    }

    /// The process is killed.
    pub(crate) fn end(&mut self) {
        self.context = None;
        self.sweep.take().iter().for_each(JoinHandle::abort);
        std::mem::take(&mut self.running).into_values().for_each(|pass| pass.abort());
        self.cache.clear();
        self.queue.clear();
        self.waiting.clear();
        self.watches.clear();
    }

    /// A watch breaks, for a while.
    pub(crate) fn break_watch(&mut self, which: Watched) {
        if let Some(watch) = self.watches.get_mut(&which).filter(|watch| !watch.broken) {
            watch.broken = true;
            let mut world = self.world.lock().unwrap();
            let wait = world.random.wait(5 * MINUTE);
            world.after(wait, Event::Relist(self.number, which));
        }
    }

    /// A watch is begun anew: what there is is told, what there was is not.
    pub(crate) fn relist(&mut self, which: Watched) {
        let Some(watch) = self.watches.get_mut(&which) else { return };
        let world = self.world.lock().unwrap();
        (watch.broken, watch.place) = (false, world.store.history().len());
        let mut told = Vec::new();
        match which {
            Watched::Jobs => {
                let jobs = of(&world.store, "mapreducejobs");
                self.cache = jobs.map(|job| (name(job).to_owned(), seen(job))).collect();
                told.extend(self.cache.keys().cloned());
            }
            Watched::Children => {
                let ours: Vec<&Value> = of(&world.store, "jobs").filter(|job| is_selected(job)).collect();
                watch.shown = ours.iter().map(|job| uid(job).to_owned()).collect();
                if let Some(children) = &mut self.children {
                    children.follow(&WatchEvent::Init);
                    ours.iter().for_each(|job| children.follow(&WatchEvent::InitApply(child_object(job))));
                    children.follow(&WatchEvent::InitDone);
                }
                told.extend(ours.iter().filter_map(|job| owner_name(job)));
            }
        }
        drop(world);
        told.iter().for_each(|job| self.enqueue(job, now()));
    }

    /// Looks whether the watches have something to deliver.
    pub(crate) fn look(&mut self) {
        let mut world = self.world.lock().unwrap();
        let end = world.store.history().len();
        for (which, watch) in &mut self.watches {
            if !watch.broken && !watch.scheduled && watch.place < end {
                watch.scheduled = true;
                let wait = world.random.wait(500);
                let paused = world.paused[self.number].saturating_sub(now());
                world.after(paused + wait, Event::Deliver(self.number, *which));
            }
        }
    }

    /// A watch delivers some of what has changed.
    pub(crate) fn deliver(&mut self, which: Watched) {
        let Some(watch) = self.watches.get_mut(&which) else { return };
        watch.scheduled = false;
        if watch.broken {
            return;
        }
        let mut told = Vec::new();
        {
            let mut world = self.world.lock().unwrap();
            let history = world.store.history();
            let (resource, end) = match which {
                Watched::Jobs => ("mapreducejobs", history.len()),
                Watched::Children => ("jobs", history.len()),
            };
            let mut swallowed = false;
            if let Some(Site::Event(swallows)) = world.planted.map(|planted| planted.site) {
                swallowed = swallows(which);
            }
            let from = watch.place;
            watch.place = end;
            for (_, kind, event) in &history[from..end] {
                if kind != resource || swallowed {
                    continue;
                }
                let object = &event["object"];
                let gone = event["type"] == "DELETED";
                match which {
                    Watched::Jobs if gone => {
                        self.cache.remove(name(object));
                    }
                    Watched::Jobs => {
                        self.cache.insert(name(object).to_owned(), seen(object));
                        told.push(name(object).to_owned());
                    }
                    Watched::Children => {
                        let shows = is_selected(object) && !gone;
                        let was = if shows {
                            !watch.shown.insert(uid(object).to_owned())
                        } else {
                            watch.shown.remove(uid(object))
                        };
                        if shows || was {
                            told.extend(owner_name(object));
                            if let Some(children) = &mut self.children {
                                let object = child_object(object);
                                children.follow(&if shows {
                                    WatchEvent::Apply(object)
                                } else {
                                    WatchEvent::Delete(object)
                                });
                            }
                        }
                    }
                }
            }
            // Some of it once more, as after a connection that was lost.
            if world.fault_rate > 0 && world.random.chance(1, 20) {
                watch.place -= world.random.below(3).min(watch.place);
            }
        }
        told.iter().for_each(|job| self.enqueue(job, now()));
    }

    fn enqueue(&mut self, job: &str, at: Time) {
        if self.waiting.contains(job) {
            return;
        }
        let due = self.queue.entry(job.to_owned()).or_insert(Time::MAX);
        if at < *due {
            *due = at;
            let mut world = self.world.lock().unwrap();
            let paused = world.paused[self.number];
            world.at(at.max(now() + 1).max(paused), Event::Due(self.number));
        }
    }

    /// Begins the passes that are due.
    pub(crate) fn due(&mut self) {
        let due: Vec<String> =
            self.queue.iter().filter(|(_, at)| **at <= now()).map(|(job, _)| job.clone()).collect();
        for job in due {
            self.queue.remove(&job);
            self.waiting.insert(job);
        }
        self.begin_passes();
    }

    fn begin_passes(&mut self) {
        let ready: Vec<String> =
            self.waiting.iter().filter(|job| !self.running.contains_key(*job)).cloned().collect();
        for job in ready {
            if self.running.len() >= CONCURRENCY {
                break;
            }
            self.waiting.remove(&job);
            self.pass(job);
        }
    }

    fn pass(&mut self, job: String) {
        let (Some(context), Some(seen)) = (self.context.clone(), self.cache.get(&job).cloned()) else {
            return;
        };
        let uid = kube::ResourceExt::uid(&*seen).unwrap_or_default();
        let pass = Pass { operator: self.number, job: job.clone(), uid: uid.clone() };
        let (passed, operator, process, of) = (self.passed.clone(), self.number, self.process, job.clone());
        let running = tokio::spawn(PASS.scope(pass, async move {
            let result = job::reconcile(Arc::clone(&seen), Arc::clone(&context)).await;
            let failed = result.as_ref().err().map(ReconcileError::category);
            let action = result.unwrap_or_else(|error| job::error_policy(seen, &error, context));
            let again = requeue_after(&action);
            let _ = passed.send(Passed { operator, process, job: of, uid, again, failed });
        }));
        self.running.insert(job, running);
    }

    /// A pass has ended.
    pub(crate) fn passed(&mut self, passed: &Passed) {
        if passed.process != self.process || !self.is_running() {
            return;
        }
        self.running.remove(&passed.job);
        let mut again = passed.again;
        {
            let mut world = self.world.lock().unwrap();
            world.note(|| format!("op{} passed {} {:?} {again:?}", self.number, passed.job, passed.failed));
            world.oracle.passed(&passed.uid, passed.failed);
            if let Some(Site::Requeue(change)) = world.planted.map(|planted| planted.site) {
                again = change(again);
            }
        }
        if let Some(again) = again {
            self.enqueue(&passed.job, now() + Time::try_from(again.as_millis()).unwrap_or(Time::MAX / 2));
        }
        self.begin_passes();
    }
}

fn seen(job: &Value) -> Seen {
    // A struct would not do: the guard deserializes in two steps.
    Arc::new(serde_json::from_value(job.clone()).unwrap())
}

fn child_object(job: &Value) -> ChildObject {
    serde_json::from_value(job.clone()).unwrap()
}

/// Whether the watch of children has it in its selector.
fn is_selected(job: &Value) -> bool {
    job["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mapreduce-operator"
}

fn owner_name(job: &Value) -> Option<String> {
    Some(job["metadata"]["labels"]["mapreduce.dev/job"].as_str()?.to_owned())
}

/// When a pass wants to be repeated: an action shows it only as text.
fn requeue_after(action: &kube::runtime::controller::Action) -> Option<Duration> {
    let text = format!("{action:?}");
    let number = text.strip_prefix("Action { requeue_after: Some(")?.strip_suffix(") }")?;
    let unit = number.find(|c: char| c != '.' && !c.is_ascii_digit())?;
    let value: f64 = number[..unit].parse().ok()?;
    let seconds = match &number[unit..] {
        "s" => value,
        "ms" => value / 1e3,
        "µs" => value / 1e6,
        "ns" => value / 1e9,
        other => panic!("{other} is not a unit of time"),
    };
    Some(Duration::from_secs_f64(seconds))
}

#[test]
fn an_action_shows_when_it_is_repeated() {
    use kube::runtime::controller::Action;
    for millis in [0, 1, 50, 1050, 86_400_000] {
        let wait = Duration::from_millis(millis);
        assert_eq!(requeue_after(&Action::requeue(wait)), Some(wait));
    }
    assert_eq!(requeue_after(&Action::await_change()), None);
}
