//! Whole jobs on a simulated cluster and bucket, from a seed: see `docs/simulation.md`.
//!
//! ```text
//!  seed ──> world: jobs, input, old results ──> scheduler ──> oracle: what has to be true, whatever happened
//!                                               │      ^
//!                          actors: plan, map, reduce, cleanup ── the engine as it is
//!                                               │      │
//!                                           store: requests, faults ──> bucket
//! ```

mod bucket;
mod faults;
mod jobs;
mod machines;
mod oracle;
mod planted;
mod random;
mod scheduler;
mod store;
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use faults::Fault;
use scheduler::{Pool, State};

/// Runs a seed to its end.
fn run(pool: &Pool, seed: u64, trace: bool) -> State {
    let mut state = pool.run(world::of(seed, trace));
    state.end();
    state
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A failing seed is repeated by this, with `SIMULATION_SEED`: it prints what has happened.
#[test]
fn one_seed() {
    let Some(seed) = number("SIMULATION_SEED") else { return };
    let state = run(&Pool::new(), seed, true);
    for line in state.trace.iter().flatten() {
        println!("{line}");
    }
    for (key, object) in &state.bucket.objects {
        println!("in the end: {key} ({} bytes)", object.bytes.len());
    }
    for (id, upload) in &state.bucket.uploads {
        println!("in the end: upload {id} of {}", upload.key);
    }
    assert!(state.oracle.faults.is_empty(), "{:#?}", state.oracle.faults);
}

/// Seeds from a base that is printed: `SIMULATION_SEEDS` of them, from `SIMULATION_BASE`.
#[test]
fn every_order_of_events_ends_well() {
    let seeds = number("SIMULATION_SEEDS").unwrap_or(1000);
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let base = number("SIMULATION_BASE").unwrap_or_else(|| now() * 1_000_000);
    println!("seeds {base} to {}", base + seeds - 1);
    let (pool, start) = (Pool::new(), Instant::now());
    let mut happened = [0_u64; Fault::ALL.len()];
    let (mut failed, mut steps, mut succeeded) = (Vec::new(), 0, 0);
    for seed in base..base + seeds {
        let state = run(&pool, seed, false);
        happened.iter_mut().zip(state.faults.happened).for_each(|(sum, n)| *sum += u64::from(n));
        steps += state.step;
        succeeded += u64::from(!state.oracle.published.is_empty());
        if let Some(what) = state.oracle.faults.first() {
            failed.push((seed, what.clone()));
        }
    }
    let time = start.elapsed();
    println!("{seeds} seeds in {time:.1?}, {steps} steps, {succeeded} with a result");
    for fault in Fault::ALL {
        println!("  {:8} {fault:?}", happened[fault as usize]);
    }
    assert!(failed.is_empty(), "{} of {seeds} seeds end badly:\n{}", failed.len(), kinds(&failed));
}

/// Seeds until a planted fault has been found, at most.
const ENOUGH: u64 = 5_000;

/// Without a planted fault all of these seeds end well: see above.
#[test]
fn every_planted_fault_is_found() {
    let pool = Pool::new();
    let wanted = std::env::var("SIMULATION_PLANTED").unwrap_or_default();
    let mut missed = Vec::new();
    for planted in planted::PLANTED.iter().filter(|planted| planted.name.contains(&wanted)) {
        let found = (0..ENOUGH).find_map(|seed| {
            let mut state = world::of(seed, false);
            state.planted = Some(planted.site);
            let mut state = pool.run(state);
            state.end();
            Some((seed, state.oracle.faults.into_iter().next()?))
        });
        match found {
            Some((seed, what)) => println!("{}: found by seed {seed}: {what}", planted.name),
            None => missed.push(planted.name),
        }
    }
    assert!(missed.is_empty(), "not found in {ENOUGH} seeds: {missed:#?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let pool = Pool::new();
    for seed in 0..100 {
        let (first, second) = (run(&pool, seed, true), run(&Pool::new(), seed, true));
        assert!(first.trace.as_ref().is_some_and(|trace| !trace.is_empty()));
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

/// What is wrong, each kind once: how often, and the first seed that shows it.
fn kinds(failed: &[(u64, String)]) -> String {
    let mut kinds: BTreeMap<String, (usize, u64, &str)> = BTreeMap::new();
    for (seed, what) in failed {
        let kind: String = what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
        kinds.entry(kind).or_insert((0, *seed, what)).0 += 1;
    }
    let mut kinds: Vec<_> = kinds.into_values().collect();
    kinds.sort_unstable_by(|a, b| b.cmp(a));
    let lines = kinds.iter().map(|(n, seed, what)| format!("{n:6} SIMULATION_SEED={seed}: {what}"));
    lines.collect::<Vec<_>>().join("\n")
}
