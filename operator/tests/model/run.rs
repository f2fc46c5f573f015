//! A seed from its begin to its end.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;
use tokio::time::{Duration, sleep_until};

use crate::kubelet::NODES;
use crate::objects::of;
use crate::operator::Operator;
use crate::oracle::is_at_rest;
use crate::planted::Planted;
use crate::world::{Event, HOUR, MINUTE, Time, Watched, World, begin, now};

/// What has become of a seed, or of many.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) wrong: Vec<String>,
    pub(crate) trace: Vec<String>,
    requests: u64,
    passes: u64,
    time: Time,
    ends: BTreeMap<String, u64>,
    fates: BTreeMap<String, u64>,
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.passes += other.passes;
        self.time += other.time;
        other.ends.iter().for_each(|(end, n)| *self.ends.entry(end.clone()).or_default() += n);
        other.fates.iter().for_each(|(fate, n)| *self.fates.entry(fate.clone()).or_default() += n);
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hours = self.time / HOUR;
        write!(
            f,
            "{hours} hours, {} passes, {} requests\n  {:?}\n  {:?}",
            self.passes, self.requests, self.ends, self.fates
        )
    }
}

/// With all faults over, every job is at its end after this long.
const PATIENCE: Time = 6 * HOUR;
/// For this long nothing is asked for a job at its end.
const QUIET: Time = HOUR;

/// Most events of a seed; some hundreds are usual.
const MOST_EVENTS: u32 = 100_000;

/// Runs a seed.
pub(crate) fn run(seed: u64, planted: Option<&'static Planted>, trace: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        begin();
        let mut world = World::new(seed, trace);
        world.planted = planted;
        live(world).await
    })
}

async fn live(mut world: World) -> Outcome {
    let until = world.random.pick(&[5 * MINUTE, 30 * MINUTE, 2 * HOUR]);
    world.fault_rate = world.random.pick(&[0, 0, 100, 30, 10]);
    world.draw_actions(until);
    world.at(until, Event::Heal);
    let two = world.random.chance(1, 3);
    world.at(0, Event::Operator(0, true));
    if two {
        world.at(0, Event::Operator(1, true));
    }
    for _ in 0..world.random.below(3) {
        let (number, at) = (world.random.below(1 + usize::from(two)), world.random.wait(until));
        let away = world.random.wait(5 * MINUTE);
        if world.random.chance(1, 2) {
            world.at(at, Event::Operator(number, false));
            world.at((at + away).min(until), Event::Operator(number, true));
        } else {
            world.at(at, Event::Pause(number, away));
        }
    }
    for _ in 0..world.random.below(3) {
        let number = world.random.below(1 + usize::from(two));
        let (which, at) = (world.random.pick(&[Watched::Jobs, Watched::Children]), world.random.wait(until));
        world.at(at, Event::Break(number, which));
    }
    world.make_nodes();
    if world.random.chance(1, 6) {
        let (node, at, long) =
            (world.random.below(NODES), world.random.wait(until), world.random.wait(30 * MINUTE));
        let back = if world.random.chance(1, 2) { Time::MAX } else { at + long };
        world.at(at, Event::LoseNode(node, back));
    }
    let notify = Arc::clone(&world.notify);
    let world = Arc::new(Mutex::new(world));
    let (send, mut passed) = mpsc::unbounded_channel();
    let mut operators = [0, 1].map(|number| Operator::new(number, &world, send.clone()));
    let start = tokio::time::Instant::now();
    let mut at_rest: Option<(Time, u64)> = None;
    let mut events = 0;
    loop {
        let next = world.lock().unwrap().next_time();
        let busy = operators.iter().any(Operator::is_busy);
        if next.is_none() && !busy {
            break;
        }
        tokio::select! {
            biased;
            Some(done) = passed.recv() => {
                operators[done.operator].passed(&done);
                continue;
            }
            () = notify.notified() => continue,
            () = sleep_until(start + Duration::from_millis(next.unwrap_or(0))), if next.is_some() => {}
        }
        loop {
            let event = world.lock().unwrap().pop();
            let Some(event) = event else { break };
            happen(&world, &mut operators, event);
            events += 1;
        }
        operators.iter_mut().for_each(Operator::look);
        if events > MOST_EVENTS {
            world.lock().unwrap().oracle.is_wrong("the world comes to no rest");
            break;
        }
        if now() > until {
            let world = world.lock().unwrap();
            let rests = of(&world.store, "mapreducejobs").all(is_at_rest);
            match at_rest {
                _ if !rests => at_rest = None,
                None => at_rest = Some((now(), world.oracle.requests)),
                Some((since, _)) if now() > since + QUIET => break,
                Some(_) => {}
            }
            if now() > until + PATIENCE || world.oracle.wrong.len() > 5 {
                break;
            }
        }
    }
    operators.iter_mut().for_each(Operator::end);
    let mut world = world.lock().unwrap();
    let World { oracle, store, truths, trace, .. } = &mut *world;
    oracle.judge_rest(store, truths);
    let mut ends = BTreeMap::new();
    for job in of(store, "mapreducejobs") {
        *ends.entry(job["status"]["phase"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
    }
    Outcome {
        wrong: std::mem::take(&mut oracle.wrong),
        trace: trace.take().unwrap_or_default(),
        requests: oracle.requests,
        passes: oracle.passes,
        time: now(),
        ends,
        fates: std::mem::take(&mut oracle.fates),
    }
}

fn happen(world: &Arc<Mutex<World>>, operators: &mut [Operator; 2], event: Event) {
    match event {
        Event::Deliver(number, which) => operators[number].deliver(which),
        Event::Relist(number, which) => operators[number].relist(which),
        Event::Due(number) => operators[number].due(),
        Event::Break(number, which) => operators[number].break_watch(which),
        Event::Sweep(number, process) => operators[number].sweep(process),
        Event::Operator(number, true) => operators[number].begin(),
        Event::Operator(number, false) => operators[number].end(),
        event => {
            let mut world = world.lock().unwrap();
            match event {
                Event::Serve(request) => world.serve(request),
                Event::Answer(answered) => answered.arrive(),
                Event::Late(request) => world.serve_late(request),
                Event::Pause(number, long) => world.paused[number] = now() + long,
                Event::Sync(job) => world.sync_job(&job),
                Event::Pod(pod) => world.step_pod(&pod),
                Event::LoseNode(node, until) => world.lose_node(node, until),
                Event::NodeSays(node) => world.node_says(node),
                Event::Evict(node) => world.evict(node),
                Event::Collect => world.collect_garbage(),
                Event::User(action) => world.act(&action),
                Event::Heal => world.heal(),
                _ => {}
            }
            world.settle();
        }
    }
}
