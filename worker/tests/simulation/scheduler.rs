//! Runs actors, the pods of jobs, one at a time: who is next is drawn.
//!
//! ```text
//!  actor A ─ request ─┐                            ┌─ request ─ …
//!                     │ pause: draws who is next   │
//!  actor B            └─ request ─ request ────────┘
//! ```
//!
//! Each actor is a thread that runs the engine as it is. It pauses at each request to the store, and only there:
//! whoever pauses draws the next one and wakes it. So a seed gives the same run each time.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use mapreduce_worker::machine;
use tokio_util::sync::CancellationToken;

use crate::bucket::{Answer, Bucket, Write, Writer};
use crate::faults::Faults;
use crate::jobs::{JobRun, Outcome, Role};
use crate::machines::Made;
use crate::oracle::Oracle;
use crate::planted::Site;
use crate::random::Random;

/// All that there is of a seed's world.
#[derive(Debug)]
pub struct State {
    /// Draws who is next, and what goes wrong.
    pub random: Random,
    /// Draws the engine's own random numbers.
    pub names: Random,
    pub step: u64,
    /// Milliseconds.
    pub now: u64,
    pub actors: Vec<Actor>,
    /// What happens by itself, and when.
    pub due: Vec<(u64, Event)>,
    pub bucket: Bucket,
    pub faults: Faults,
    pub jobs: Vec<JobRun>,
    pub oracle: Oracle,
    /// A fault of the protocol that the oracle should find.
    pub planted: Option<Site>,
    /// What has happened, where somebody wants to know.
    pub trace: Option<Vec<String>>,
    /// All has ended, and the last run has been begun.
    pub has_last_run: bool,
    style: Style,
    current: Option<usize>,
    /// Threads of the pool without an actor.
    idle: Vec<usize>,
}

/// Something that happens by itself.
#[derive(Debug)]
pub enum Event {
    /// A request of somebody who has given up is done.
    Land(Write, usize),
    /// An actor that was asked to stop is killed.
    Kill(usize),
    /// Something that people or Kubernetes do.
    World(crate::jobs::Happening),
}

#[derive(Debug)]
pub struct Actor {
    pub role: Role,
    pub status: Status,
    /// Its process is dead; its thread may not know yet.
    pub killed: bool,
    pub cancel: CancellationToken,
    thread: Option<usize>,
    priority: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ready,
    /// Until then, in milliseconds.
    Asleep(u64),
    /// Until this step.
    Stalled(u64),
    Ended,
}

/// How the next actor is drawn.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Anyone.
    Any,
    /// Mostly the same again: another one time of so many.
    Seldom(usize),
    /// The one with the highest priority, which the current one loses one time of so many.
    Priorities(usize),
}

/// More steps than any run needs.
const MAX_STEPS: u64 = 50_000;

impl State {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let names = Random::new(random.next());
        let faults = Faults::draw(&mut random);
        let style = match random.below(4) {
            0 => Style::Any,
            1 => Style::Seldom(2 + random.below(10)),
            _ => Style::Priorities(5 + random.below(30)),
        };
        Self {
            random,
            names,
            step: 0,
            now: 0,
            actors: Vec::new(),
            due: Vec::new(),
            bucket: Bucket::default(),
            faults,
            jobs: Vec::new(),
            oracle: Oracle::default(),
            planted: None,
            trace: trace.then(Vec::new),
            has_last_run: false,
            style,
            current: None,
            idle: Vec::new(),
        }
    }

    /// Notes what happens, where somebody wants to know.
    pub fn note(&mut self, what: impl FnOnce(&Self) -> String) {
        if let Some(mut trace) = self.trace.take() {
            trace.push(format!("{:5} {}", self.step, what(self)));
            self.trace = Some(trace);
        }
    }

    /// A new actor. It begins at once, or after so many steps.
    pub fn begin(&mut self, role: Role, after: u64) -> usize {
        let status = if after == 0 { Status::Ready } else { Status::Stalled(self.step + after) };
        let (cancel, priority) = (CancellationToken::new(), 1 + self.random.next() / 2);
        self.actors.push(Actor { role, status, killed: false, cancel, thread: None, priority });
        let number = self.actors.len() - 1;
        self.note(|state| format!("{} begins", state.name_of(number)));
        number
    }

    /// What a trace calls an actor.
    pub fn name_of(&self, actor: usize) -> String {
        format!("#{actor} {}", self.actors[actor].role)
    }

    /// Ends a process. One that hasn't begun will not.
    pub fn kill(&mut self, actor: usize) {
        let found = &mut self.actors[actor];
        if found.status == Status::Ended || found.killed {
            return;
        }
        found.killed = true;
        found.status = Status::Ready;
        self.note(|state| format!("{} is killed", state.name_of(actor)));
    }

    /// Asks a process to stop, and kills it when it doesn't.
    pub fn terminate(&mut self, actor: usize) {
        self.note(|state| format!("{} is asked to stop", state.name_of(actor)));
        self.actors[actor].cancel.cancel();
        let due = self.step + 1 + self.random.steps();
        self.due.push((due, Event::Kill(actor)));
    }

    /// Does what an actor asks for.
    pub fn request(&mut self, write: &Write, actor: usize) -> Answer {
        let planted = match self.planted {
            Some(Site::Write(made)) => made(self, actor, write),
            _ => None,
        };
        planted.unwrap_or_else(|| self.apply(write, actor, false))
    }

    /// Does a request; the oracle sees what has changed.
    pub fn apply(&mut self, write: &Write, actor: usize, late: bool) -> Answer {
        let mut changes = Vec::new();
        let by = Writer { actor: Some(actor), step: self.step, late };
        let answer = self.bucket.apply(write, by, &mut changes);
        for change in changes {
            self.changed(&change);
        }
        answer
    }

    /// Draws who is next; nobody when all have ended and nothing more will happen.
    fn next(&mut self) -> Option<usize> {
        loop {
            self.step += 1;
            self.now += 1 + self.random.next() % 20;
            if self.step > MAX_STEPS {
                self.oracle.fault("it does not end".to_owned());
                return None;
            }
            while let Some(at) = self.due.iter().position(|(due, _)| *due <= self.step) {
                let (_, event) = self.due.swap_remove(at);
                self.happens(event);
            }
            for actor in &mut self.actors {
                let is_over = match actor.status {
                    Status::Asleep(until) => until <= self.now,
                    Status::Stalled(until) => until <= self.step,
                    Status::Ready | Status::Ended => false,
                };
                if is_over {
                    actor.status = Status::Ready;
                }
            }
            if let Some(next) = self.draw() {
                self.current = Some(next);
                return Some(next);
            }
            let mut wakes: Vec<u64> = self.due.iter().map(|(due, _)| *due).collect();
            wakes.extend(self.actors.iter().filter_map(|actor| match actor.status {
                Status::Stalled(until) => Some(until),
                _ => None,
            }));
            let asleep = self.actors.iter().filter_map(|actor| match actor.status {
                Status::Asleep(until) => Some(until),
                _ => None,
            });
            match (asleep.min(), wakes.into_iter().min()) {
                (Some(until), _) => self.now = self.now.max(until),
                (None, Some(step)) => self.step = self.step.max(step.saturating_sub(1)),
                (None, None) if self.begin_last_run() => {}
                (None, None) => return None,
            }
        }
    }

    fn draw(&mut self) -> Option<usize> {
        let ready = |(at, actor): (usize, &Actor)| (actor.status == Status::Ready).then_some(at);
        let all: Vec<usize> = self.actors.iter().enumerate().filter_map(ready).collect();
        if all.is_empty() {
            return None;
        }
        let current = self.current.filter(|current| all.contains(current));
        Some(match (self.style, current) {
            (Style::Seldom(n), Some(current)) if !self.random.chance(1, n) => current,
            (Style::Any | Style::Seldom(_), _) => self.random.pick(&all),
            (Style::Priorities(n), current) => {
                if let Some(current) = current
                    && self.random.chance(1, n)
                {
                    self.actors[current].priority /= 1 << 8;
                }
                *all.iter().max_by_key(|&&actor| self.actors[actor].priority).unwrap()
            }
        })
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Land(write, actor) => {
                let answer = self.apply(&write, actor, true);
                self.note(|state| {
                    format!("late, of {}: {} -> {answer:?}", state.name_of(actor), shown(&write))
                });
            }
            Event::Kill(actor) => self.kill(actor),
            Event::World(what) => self.happening(&what),
        }
    }
}

/// A request, for a trace.
pub fn shown(write: &Write) -> String {
    match write {
        Write::Put(key, bytes) => format!("put {key} ({} bytes)", bytes.len()),
        Write::Create(key, bytes) => format!("create {key} ({} bytes)", bytes.len()),
        Write::Delete(keys) => format!("delete {keys:?}"),
        Write::DeleteVersion(key, _) => format!("delete a version of {key}"),
        Write::Begin(key) => format!("begin an upload of {key}"),
        Write::Part(id, number, _) => format!("part {number} of upload {id}"),
        Write::Complete(key, id, ..) => format!("complete upload {id} of {key}"),
        Write::Abort(id) => format!("abort upload {id}"),
    }
}

/// One seed's run.
#[derive(Debug)]
pub struct Simulation {
    state: Mutex<State>,
    threads: Arc<Vec<Worker>>,
    over: Signal,
}

/// The panic that ends the thread of a process that was killed.
pub struct Killed;

impl Simulation {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets others go first. Returns when it is this actor's turn.
    pub fn pause(&self, me: usize) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        // Whoever pauses is ready, asleep or stalled: sooner or later it is somebody's turn.
        let next = state.next();
        if next == Some(me) {
            return state;
        }
        let mine = state.actors[me].thread.unwrap();
        self.wake(&mut state, next);
        drop(state);
        self.threads[mine].signal.wait();
        self.lock()
    }

    fn wake(&self, state: &mut State, next: Option<usize>) {
        let Some(next) = next else {
            self.over.set();
            return;
        };
        if let Some(thread) = state.actors[next].thread {
            self.threads[thread].signal.set();
            return;
        }
        let thread = state.idle.pop().unwrap();
        state.actors[next].thread = Some(thread);
        *self.threads[thread].actor.lock().unwrap() = Some(next);
        self.threads[thread].signal.set();
    }
}

#[derive(Debug, Default)]
struct Signal {
    set: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Signal {
    fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.thread.get().unwrap().unpark();
    }

    fn wait(&self) {
        while !self.set.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

/// A thread that actors run on, one after the other.
#[derive(Debug, Default)]
struct Worker {
    signal: Signal,
    actor: Mutex<Option<usize>>,
    simulation: Mutex<Option<Arc<Simulation>>>,
}

/// Threads for one simulation at a time.
#[derive(Debug)]
pub struct Pool {
    workers: Arc<Vec<Worker>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// Actors that may be in the middle of something at once.
const THREADS: usize = 64;

impl Pool {
    pub fn new() -> Self {
        let workers: Arc<Vec<Worker>> = Arc::new((0..THREADS).map(|_| Worker::default()).collect());
        let threads = (0..THREADS).map(|number| {
            let workers = Arc::clone(&workers);
            let thread = std::thread::Builder::new().name(format!("actor-{number}")).stack_size(2 << 20);
            thread.spawn(move || work(&workers[number], number)).unwrap()
        });
        let threads: Vec<_> = threads.collect();
        for (worker, thread) in workers.iter().zip(&threads) {
            worker.signal.thread.get_or_init(|| thread.thread().clone());
        }
        Self { workers, threads }
    }

    /// Runs a world to its end.
    pub fn run(&self, mut state: State) -> State {
        state.idle = (0..THREADS).rev().collect();
        let over = Signal { thread: OnceLock::from(std::thread::current()), ..Signal::default() };
        let threads = Arc::clone(&self.workers);
        let simulation = Arc::new(Simulation { state: Mutex::new(state), threads, over });
        for worker in self.workers.iter() {
            *worker.simulation.lock().unwrap() = Some(Arc::clone(&simulation));
        }
        let mut state = simulation.lock();
        let first = state.next();
        simulation.wake(&mut state, first);
        drop(state);
        simulation.over.wait();
        let trace = simulation.lock().trace.is_some();
        std::mem::replace(&mut *simulation.lock(), State::new(0, trace))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for worker in self.workers.iter() {
            *worker.simulation.lock().unwrap() = None;
            worker.signal.set();
        }
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn work(worker: &Worker, number: usize) {
    loop {
        worker.signal.wait();
        let Some(simulation) = worker.simulation.lock().unwrap().clone() else { return };
        let mut actor = worker.actor.lock().unwrap().take();
        while let Some(number_of_actor) = actor {
            let outcome = act(&simulation, number_of_actor);
            let mut state = simulation.lock();
            state.actors[number_of_actor].status = Status::Ended;
            state.actors[number_of_actor].thread = None;
            state.ended(number_of_actor, outcome);
            let next = state.next();
            // An actor that begins has this thread: nobody has to be woken.
            actor = next.filter(|&next| state.actors[next].thread.is_none());
            match actor {
                Some(next) => state.actors[next].thread = Some(number),
                None => {
                    state.idle.push(number);
                    simulation.wake(&mut state, next);
                }
            }
        }
    }
}

/// Is an actor from its beginning to its end.
fn act(simulation: &Arc<Simulation>, actor: usize) -> Outcome {
    let (role, cancel, file) = {
        let state = simulation.lock();
        let Actor { role, cancel, killed, .. } = &state.actors[actor];
        if *killed {
            return Outcome::Killed;
        }
        (role.clone(), cancel.clone(), Arc::clone(&state.jobs[role.job].file))
    };
    let made = Arc::new(Made { simulation: Arc::clone(simulation), actor });
    let run = || crate::jobs::run(simulation, actor, &role, &file, cancel);
    let outcome = machine::simulate(made, || catch_unwind(AssertUnwindSafe(run)));
    match outcome {
        _ if simulation.lock().actors[actor].killed => Outcome::Killed,
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Outcome::Panicked(
                text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()))
                    .unwrap_or_default(),
            )
        }
    }
}

/// Ends the thread of a process that was killed.
pub fn die() -> ! {
    resume_unwind(Box::new(Killed))
}
