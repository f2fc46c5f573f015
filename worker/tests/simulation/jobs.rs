//! Jobs as Kubernetes and the operator run them: pods per phase, further attempts, the cleanup.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use mapreduce_api::ids::{AttemptId, JobId};
use mapreduce_api::wire::JobFile;
use mapreduce_worker::error::{Error, ErrorKind, Result};
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::job::{Job, Resources, pod};
use mapreduce_worker::storage::Stores;
use mapreduce_worker::task::finish::Success;
use tokio_util::sync::CancellationToken;

use crate::planted::Site;
use crate::scheduler::{Event, Simulation, State, Status};
use crate::store::{BASE, SimulatedStore};

/// What an actor is to do.
#[derive(Clone, Debug)]
pub struct Role {
    pub job: usize,
    pub work: Work,
    pub failed_before: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Plan(usize),
    Map(usize, u32),
    Reduce(usize, u32),
    Cleanup,
    /// The whole job in one process.
    Local,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job {} {:?}", self.job, self.work)
    }
}

/// How an actor has ended.
#[derive(Debug)]
pub enum Outcome {
    Planned { maps: u32, reduces: u32, success: Option<Success> },
    Done(Option<Success>),
    Failed(Error),
    Killed,
    Panicked(String),
}

/// Is an actor.
pub fn run(
    simulation: &Arc<Simulation>,
    actor: usize,
    role: &Role,
    file: &Arc<JobFile>,
    cancel: CancellationToken,
) -> Outcome {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().build().unwrap());
    let stores =
        Stores::new(file.spec.storage.clone(), Path::new("/"), runtime.handle().clone(), cancel.clone());
    let attempt = format!("a{actor}");
    let store = SimulatedStore { simulation: Arc::clone(simulation), actor, cancel: cancel.clone() };
    stores.insert(BASE, Arc::new(store));
    match Job::with_stores(JobFile::clone(file), stores, cancel).and_then(|job| work(job, attempt, role)) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed(error),
    }
}

fn work(job: Job, attempt: String, role: &Role) -> Result<Outcome> {
    let job = job.after_failures(role.failed_before);
    let attempt = AttemptId::new(attempt);
    let resources = Resources { memory: 4 << 20, threads: 1, scratch: std::env::temp_dir() };
    Ok(match role.work {
        Work::Plan(step) => {
            let planned = pod::plan(&job.at_step(step), &resources)?;
            let (maps, reduces) = (planned.summary.map_tasks, planned.summary.reduce_tasks);
            Outcome::Planned { maps, reduces, success: planned.success }
        }
        Work::Map(step, task) => Outcome::Done(pod::map(&job.at_step(step), task, &attempt, &resources)?),
        Work::Reduce(step, task) => {
            Outcome::Done(pod::reduce(&job.at_step(step), task, &attempt, &resources)?)
        }
        Work::Cleanup => pod::cleanup(&job).map(|_| Outcome::Done(None))?,
        Work::Local => Outcome::Done(Some(local::run(&job, &resources, &RunProgress::default())?)),
    })
}

/// A job, as the operator sees it.
#[derive(Debug)]
pub struct JobRun {
    pub file: Arc<JobFile>,
    pub is_local: bool,
    pub step: usize,
    phase: Phase,
    maps: u32,
    reduces: u32,
    tasks: Vec<Task>,
    /// Pods at once.
    pub parallelism: usize,
    pub state: JobState,
    /// Since then whatever lands of dead processes is nobody's fault: the step.
    pub over: Option<u64>,
    /// When it last looked through what it has there.
    pub looked: Looked,
    cleanups: u32,
}

/// Steps of a run's last lists, by their prefixes.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub objects: BTreeMap<String, u64>,
    pub uploads: BTreeMap<String, u64>,
}

impl Looked {
    /// When a key was looked for last.
    pub fn last(lists: &BTreeMap<String, u64>, key: &str) -> u64 {
        lists.iter().filter(|(prefix, _)| key.starts_with(*prefix)).map(|(_, step)| *step).max().unwrap_or(0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Plan,
    Map,
    Reduce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    Waiting,
    Running,
    /// Its pods are being ended.
    Failing,
    /// Its data is being removed.
    Cleaning,
    Succeeded,
    Failed,
    /// It was a process that was killed, and nobody cleans up after it.
    Dead,
}

#[derive(Clone, Debug, Default)]
struct Task {
    done: bool,
    failures: u64,
    live: Option<usize>,
}

/// What people and Kubernetes do.
#[derive(Debug)]
pub enum Happening {
    Start(usize),
    /// Somebody deletes a job.
    Delete(usize),
    /// One more attempt at some task, that the operator knows nothing of.
    Extra(usize),
    /// One more object of the input.
    MoreInput,
    /// Another program writes what would be a part, where there is none.
    OtherProgram,
}

impl JobRun {
    pub fn new(file: JobFile, is_local: bool, parallelism: usize) -> Self {
        Self {
            file: Arc::new(file),
            is_local,
            step: 0,
            phase: Phase::Plan,
            maps: 0,
            reduces: 0,
            tasks: Vec::new(),
            parallelism,
            state: JobState::Waiting,
            over: None,
            looked: Looked::default(),
            cleanups: 0,
        }
    }

    fn has_reducers(&self) -> bool {
        self.reduces > 0
    }

    fn is_last_step(&self) -> bool {
        self.step + 1 == self.file.spec.step_count()
    }

    fn work(&self, task: usize) -> Work {
        match self.phase {
            _ if self.is_local => Work::Local,
            Phase::Plan => Work::Plan(self.step),
            Phase::Map => Work::Map(self.step, task as u32),
            Phase::Reduce => Work::Reduce(self.step, task as u32),
        }
    }
}

impl State {
    pub fn job_of(&mut self, actor: usize) -> &mut JobRun {
        &mut self.jobs[self.actors[actor].role.job]
    }

    pub fn happening(&mut self, what: &Happening) {
        self.note(|_| format!("{what:?}"));
        match what {
            &Happening::Start(job) => {
                self.jobs[job].state = JobState::Running;
                self.begin_phase(job, Phase::Plan, 1);
            }
            &Happening::Delete(job) if self.jobs[job].state == JobState::Running => {
                self.oracle.deleted = true;
                if self.jobs[job].is_local {
                    // Nobody cleans up after a command that is interrupted, but the next one.
                    let live: Vec<usize> = self.jobs[job].tasks.iter().filter_map(|task| task.live).collect();
                    live.into_iter().for_each(|actor| self.terminate(actor));
                } else {
                    self.fail(job, "it is deleted");
                }
            }
            Happening::Delete(_) => {}
            &Happening::Extra(job) => self.extra(job),
            Happening::MoreInput => self.more_input(),
            Happening::OtherProgram => self.other_program(),
        }
    }

    fn begin_phase(&mut self, job: usize, phase: Phase, tasks: u32) {
        let run = &mut self.jobs[job];
        run.phase = phase;
        run.tasks = vec![Task::default(); tasks as usize];
        self.begin_attempts(job);
    }

    /// Begins attempts at tasks that are neither done nor under way.
    fn begin_attempts(&mut self, job: usize) {
        let run = &self.jobs[job];
        let mut room = run.parallelism.saturating_sub(run.tasks.iter().filter(|t| t.live.is_some()).count());
        for task in 0..run.tasks.len() {
            let Task { done, failures, live } = self.jobs[job].tasks[task];
            if done || live.is_some() || room == 0 {
                continue;
            }
            room -= 1;
            let role = Role { job, work: self.jobs[job].work(task), failed_before: failures };
            let after = if self.random.chance(1, 3) { self.random.steps() } else { 0 };
            let actor = self.begin(role, after);
            self.jobs[job].tasks[task].live = Some(actor);
        }
    }

    /// An attempt at any task of a phase that has begun, which the operator doesn't know of.
    fn extra(&mut self, job: usize) {
        let run = &self.jobs[job];
        if run.is_local || !matches!(run.state, JobState::Running | JobState::Succeeded) {
            return;
        }
        let step = self.random.below(run.step + 1);
        let run = &self.jobs[job];
        let mut works = vec![Work::Plan(step)];
        // How many tasks an earlier step had isn't known any more: the plan knows.
        if step == run.step && run.phase != Phase::Plan {
            works.extend((0..run.maps).map(|task| Work::Map(step, task)));
        }
        if step < run.step {
            works.push(Work::Map(step, 0));
        }
        if step == run.step && run.phase == Phase::Reduce {
            works.extend((0..run.reduces).map(|task| Work::Reduce(step, task)));
        }
        let work = self.random.pick(&works);
        let after = self.random.steps();
        self.begin(Role { job, work, failed_before: 0 }, after);
    }

    /// Whoever has started an actor thinks that it is dead, and starts another one.
    pub fn lose_sight_of(&mut self, actor: usize) {
        let job = self.actors[actor].role.job;
        let run = &mut self.jobs[job];
        if run.is_local {
            return;
        }
        let Some(task) = run.tasks.iter_mut().find(|task| task.live == Some(actor)) else { return };
        task.live = None;
        self.note(|state| format!("{} is out of sight", state.name_of(actor)));
        match self.jobs[job].state {
            JobState::Running => self.begin_attempts(job),
            JobState::Failing => self.clean_when_alone(job),
            _ => {}
        }
    }

    /// An actor has ended.
    pub fn ended(&mut self, actor: usize, outcome: Outcome) {
        self.note(|state| format!("{} has ended: {}", state.name_of(actor), said(&outcome)));
        let Role { job, work, .. } = self.actors[actor].role.clone();
        self.judge(actor, &outcome);
        if work == Work::Cleanup {
            return self.cleaned(job, &outcome);
        }
        let Some(task) = self.jobs[job].tasks.iter().position(|task| task.live == Some(actor)) else {
            return self.clean_when_alone(job);
        };
        self.jobs[job].tasks[task].live = None;
        if self.jobs[job].state != JobState::Running {
            return self.clean_when_alone(job);
        }
        match outcome {
            Outcome::Planned { maps, reduces, success } => {
                let run = &mut self.jobs[job];
                (run.maps, run.reduces) = (maps, reduces);
                if success.is_some() {
                    self.succeed(job);
                } else if maps == 0 {
                    self.next_step(job);
                } else {
                    self.begin_phase(job, Phase::Map, maps);
                }
            }
            Outcome::Done(_) if self.jobs[job].is_local => self.succeed(job),
            Outcome::Done(_) => {
                self.jobs[job].tasks[task].done = true;
                let run = &self.jobs[job];
                if !run.tasks.iter().all(|task| task.done) {
                    self.begin_attempts(job);
                } else if run.phase == Phase::Map && run.has_reducers() {
                    let reduces = run.reduces;
                    self.begin_phase(job, Phase::Reduce, reduces);
                } else {
                    self.next_step(job);
                }
            }
            Outcome::Failed(error) if self.jobs[job].is_local => {
                self.jobs[job].state = JobState::Failed;
                self.jobs[job].over = Some(self.step);
                self.failed_for(job, &error);
            }
            Outcome::Killed if self.jobs[job].is_local => {
                self.jobs[job].state = JobState::Dead;
                self.jobs[job].over = Some(self.step);
                self.once_more(job);
            }
            Outcome::Failed(error) if matches!(error.kind(), ErrorKind::Permanent | ErrorKind::Usage) => {
                self.failed_for(job, &error);
                self.fail(job, "no attempt can do better");
            }
            Outcome::Failed(_) | Outcome::Killed | Outcome::Panicked(_) => {
                // That a node goes away is not the fault of the task.
                let counts = !matches!(outcome, Outcome::Killed) || self.random.chance(1, 2);
                let retries = u64::try_from(self.jobs[job].file.spec.retries).unwrap();
                let found = &mut self.jobs[job].tasks[task];
                found.failures += u64::from(counts);
                if found.failures > retries {
                    self.fail(job, "all attempts have failed");
                } else {
                    self.begin_attempts(job);
                }
            }
        }
    }

    /// The user types the command again, perhaps.
    fn once_more(&mut self, job: usize) {
        if self.random.chance(1, 2) {
            let after = self.random.steps();
            let next = self.again(job);
            self.plan(after, Happening::Start(next));
        }
    }

    /// One more run of a job.
    fn again(&mut self, job: usize) -> usize {
        let mut file = JobFile::clone(&self.jobs[job].file);
        file.id = JobId::new(format!("run-{}", self.jobs.len()));
        self.jobs.push(JobRun::new(file, true, 1));
        self.jobs.len() - 1
    }

    /// What a killed command has left is the next one's to remove: in the end there is a next one, and nothing happens
    /// to it. Whether it was begun.
    pub fn begin_last_run(&mut self) -> bool {
        let dead = self.jobs.iter().position(|job| job.state == JobState::Dead);
        let Some(dead) = dead.filter(|_| !std::mem::replace(&mut self.has_last_run, true)) else {
            return false;
        };
        self.faults.end();
        let next = self.again(dead);
        self.happening(&Happening::Start(next));
        true
    }

    fn next_step(&mut self, job: usize) {
        if self.jobs[job].is_last_step() {
            return self.succeed(job);
        }
        self.jobs[job].step += 1;
        self.begin_phase(job, Phase::Plan, 1);
    }

    fn succeed(&mut self, job: usize) {
        self.note(|_| format!("job {job} has succeeded"));
        self.jobs[job].state = JobState::Succeeded;
        self.jobs[job].tasks.clear();
    }

    fn fail(&mut self, job: usize, why: &str) {
        self.note(|_| format!("job {job} fails: {why}"));
        self.jobs[job].state = JobState::Failing;
        let live: Vec<usize> = self.jobs[job].tasks.iter().filter_map(|task| task.live).collect();
        for actor in live {
            self.terminate(actor);
        }
        self.clean_when_alone(job);
    }

    /// Pods first: what they write after the cleanup would stay.
    fn clean_when_alone(&mut self, job: usize) {
        if self.jobs[job].state != JobState::Failing {
            return;
        }
        let alive = |actor: &crate::scheduler::Actor| actor.role.job == job && actor.status != Status::Ended;
        let waits = !matches!(self.planted, Some(Site::CleansEarly));
        if waits && self.actors.iter().any(alive) {
            return;
        }
        self.jobs[job].state = JobState::Cleaning;
        self.clean(job);
    }

    fn clean(&mut self, job: usize) {
        self.jobs[job].over.get_or_insert(self.step);
        self.begin(Role { job, work: Work::Cleanup, failed_before: 0 }, 0);
    }

    fn cleaned(&mut self, job: usize, outcome: &Outcome) {
        if matches!(outcome, Outcome::Done(_)) {
            self.jobs[job].state = JobState::Failed;
            return;
        }
        self.jobs[job].cleanups += 1;
        match self.jobs[job].cleanups {
            0..5 => {}
            5..10 => self.faults.end(),
            _ => {
                self.oracle.fault(format!("the cleanup of job {job} never succeeds: {}", said(outcome)));
                self.jobs[job].state = JobState::Failed;
                return;
            }
        }
        self.clean(job);
    }

    /// Something will happen after so many steps.
    pub fn plan(&mut self, after: u64, what: Happening) {
        self.due.push((self.step + after, Event::World(what)));
    }
}

/// How an actor has ended, in a line.
pub fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Planned { maps, reduces, success } => {
            format!(
                "planned {maps} and {reduces} tasks{}",
                if success.is_some() { ", and that is all" } else { "" }
            )
        }
        Outcome::Done(success) => {
            format!("done{}", if success.is_some() { ", and the job with it" } else { "" })
        }
        Outcome::Failed(error) => format!("failed ({:?}): {error} {:?}", error.kind(), error.causes()),
        Outcome::Killed => "killed".to_owned(),
        Outcome::Panicked(text) => format!("panicked: {text}"),
    }
}
