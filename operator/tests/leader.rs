//! Candidates for one lease, in an order of events that follows from a seed: requests and answers take their time or get
//! lost, processes stop for a while and go on, clocks run apart. Never do two lead by their own reckoning.

#[allow(dead_code, reason = "shared with the model")]
#[path = "model/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::time::Duration;

use mapreduce_operator::leader::decide::{Action, Candidate, LeaseRecord};
use random::Random;

const LEASE_DURATION: Duration = Duration::from_secs(15);
/// From then on nothing goes wrong any more.
const CALM: u64 = 200_000;
const END: u64 = CALM + 60_000;

/// What happens to a candidate, in milliseconds of the world's time. The number is its turn's: what belongs to a turn that
/// it has given up is nothing to it.
#[derive(Clone, Debug)]
enum Event {
    Look,
    /// A request arrives at the server.
    Read(u64),
    Write(u64, Option<String>, String, Duration),
    /// An answer arrives.
    IsRead(u64, Option<LeaseRecord>),
    IsWritten(u64, LeaseRecord, Duration),
    GiveUp(u64),
}

struct Process {
    candidate: Candidate,
    /// Where its clock stood in the beginning, and its pace in thousandths.
    clock: (u64, u64),
    paused_until: u64,
    turn: u64,
}

struct World {
    random: Random,
    renew_deadline: Duration,
    now: u64,
    events: BTreeMap<(u64, u64), (usize, Event)>,
    next: u64,
    lease: Option<LeaseRecord>,
    version: u64,
    processes: Vec<Process>,
    /// Whether somebody deletes the lease; else processes are started anew.
    deletes: bool,
    seen: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64, renew_deadline: Duration) -> Self {
        let mut random = Random::new(seed);
        let deletes = random.chance(1, 3);
        let number = 2 + random.below(2);
        let mut world = Self {
            random,
            renew_deadline,
            now: 0,
            events: BTreeMap::new(),
            next: 0,
            lease: None,
            version: 0,
            processes: Vec::new(),
            deletes,
            seen: BTreeMap::new(),
        };
        for i in 0..number {
            let process = world.started();
            world.processes.push(process);
            world.after(1, i, Event::Look);
        }
        world
    }

    fn started(&mut self) -> Process {
        self.next += 1;
        Process {
            candidate: Candidate::new(format!("process-{}", self.next), self.renew_deadline),
            clock: (self.random.wait(1 << 40), 950 + self.random.below(101) as u64),
            paused_until: 0,
            turn: self.next << 32,
        }
    }

    fn after(&mut self, wait: u64, i: usize, event: Event) {
        self.next += 1;
        self.events.insert((self.now + wait, self.next), (i, event));
    }

    fn is_calm(&self) -> bool {
        self.now >= CALM
    }

    fn goes_wrong(&mut self, what: &'static str, one_of: usize) -> bool {
        let wrong = !self.is_calm() && self.random.chance(1, one_of);
        *self.seen.entry(what).or_default() += usize::from(wrong);
        wrong
    }

    fn clock(&self, i: usize) -> Duration {
        let (start, pace) = self.processes[i].clock;
        Duration::from_millis(start + self.now * pace / 1_000)
    }

    /// A message sets out.
    fn send(&mut self, i: usize, message: Event) {
        if self.goes_wrong("lost", 10) {
            return;
        }
        let wait = if self.goes_wrong("late", 5) { self.random.wait(30_000) } else { 5 };
        self.after(wait, i, message);
    }

    fn leaders(&self) -> Vec<&str> {
        let leads = |i: &usize| self.processes[*i].candidate.leads(self.clock(*i));
        (0..self.processes.len()).filter(leads).map(|i| self.processes[i].candidate.identity()).collect()
    }

    fn step(&mut self) {
        let ((time, _), (i, event)) = self.events.pop_first().unwrap();
        self.now = self.now.max(time);
        match event {
            Event::Read(turn) => self.send(i, Event::IsRead(turn, self.lease.clone())),
            Event::Write(turn, version, holder, sent) => {
                if self.lease.as_ref().map(|lease| &lease.version) != version.as_ref() {
                    *self.seen.entry("conflict").or_default() += 1;
                    return;
                }
                self.version += 1;
                let record =
                    LeaseRecord { holder, lease_duration: LEASE_DURATION, version: self.version.to_string() };
                self.lease = Some(record.clone());
                self.send(i, Event::IsWritten(turn, record, sent));
            }
            event => self.awake(i, event),
        }
    }

    /// Something happens to a process, once it runs.
    fn awake(&mut self, i: usize, event: Event) {
        if self.goes_wrong("paused", 30) {
            self.processes[i].paused_until = self.now + self.random.wait(60_000);
        }
        let pause = self.processes[i].paused_until.saturating_sub(self.now);
        if pause > 0 {
            return self.after(pause, i, event);
        }
        let turn = self.processes[i].turn;
        match event {
            Event::Look => {
                if !self.deletes && self.goes_wrong("restarted", 60) {
                    self.processes[i] = self.started();
                }
                self.delete_once();
                let turn = self.processes[i].turn;
                self.send(i, Event::Read(turn));
                self.after(3_000, i, Event::GiveUp(turn));
            }
            Event::IsRead(of, lease) if of == turn => {
                let now = self.clock(i);
                self.processes[i].candidate.read(lease, now);
                self.decide(i);
            }
            Event::IsWritten(of, record, sent) if of == turn => {
                let now = self.clock(i);
                self.processes[i].candidate.wrote(record, sent, now);
                self.turn_ends(i);
            }
            Event::GiveUp(of) if of == turn => self.turn_ends(i),
            _ => {}
        }
    }

    fn decide(&mut self, i: usize) {
        let (now, process) = (self.clock(i), &self.processes[i]);
        let (action, turn) = (process.candidate.decide(now), process.turn);
        let holder = process.candidate.identity().to_owned();
        let read = process.candidate.known().map(|known| known.record.version.clone());
        match action {
            Action::Wait | Action::StepDown => self.turn_ends(i),
            Action::Create => self.send(i, Event::Write(turn, None, holder, now)),
            Action::Take | Action::Renew => self.send(i, Event::Write(turn, read, holder, now)),
        }
    }

    fn turn_ends(&mut self, i: usize) {
        let now = self.clock(i);
        let process = &mut self.processes[i];
        process.turn += 1;
        if process.candidate.decide(now) == Action::StepDown {
            process.candidate.step_down();
        }
        self.after(2_000, i, Event::Look);
    }

    /// Once: of a lease that a replica has never seen, or that comes and goes between two looks, it can't know that
    /// somebody holds it.
    fn delete_once(&mut self) {
        let all_know = self.processes.iter().all(|process| process.candidate.known().is_some());
        if self.deletes && all_know && !self.seen.contains_key("deleted") && self.random.chance(1, 20) {
            self.seen.insert("deleted", 1);
            self.lease = None;
        }
    }
}

/// What was seen to happen; or when two led at once.
fn run(seed: u64, renew_deadline: Duration) -> Result<BTreeMap<&'static str, usize>, String> {
    let mut world = World::new(seed, renew_deadline);
    let mut changes = (0, String::new());
    while world.now < END {
        world.step();
        let leaders = world.leaders();
        if leaders.len() > 1 {
            return Err(format!("seed {seed}: {leaders:?} lead at {} ms", world.now));
        }
        if let Some(leader) = leaders.first().filter(|leader| **leader != changes.1) {
            changes = (changes.0 + 1, (*leader).to_owned());
        }
    }
    if world.leaders().is_empty() {
        return Err(format!("seed {seed}: nobody leads, long after all went well again"));
    }
    world.seen.insert("another leader", changes.0);
    Ok(world.seen)
}

#[test]
fn no_two_lead_at_once_and_in_the_end_one_does() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..2_000 {
        for (what, times) in run(seed, Duration::from_secs(10)).unwrap() {
            *seen.entry(what).or_default() += times;
        }
    }
    println!("{seen:?}");
    for what in ["lost", "late", "paused", "restarted", "deleted", "conflict", "another leader"] {
        assert!(seen[what] > 500, "{what} has hardly happened: {seen:?}");
    }
}

#[test]
fn a_leader_that_counts_longer_than_the_others_wait_is_found() {
    let found = (0..200).find_map(|seed| run(seed, Duration::from_secs(18)).err());
    assert!(found.is_some_and(|what| what.contains("lead at")));
}
