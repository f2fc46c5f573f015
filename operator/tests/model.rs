//! The controller in a world that is made up from a seed: see `docs/model.md`.
//!
//! ```text
//!  seed ──> world ─┬─ Job controller, kubelet, garbage collector, people ──> objects ──> oracle: what has to be true
//!                  └─ operators: reconcile as it is ──> requests, and what goes wrong with them ──┘
//! ```

#[allow(dead_code, reason = "shared with the scenarios")]
mod fake_api;
#[path = "model/garbage.rs"]
mod garbage;
#[path = "model/job_controller.rs"]
mod job_controller;
#[path = "model/kubelet.rs"]
mod kubelet;
#[path = "model/objects.rs"]
mod objects;
#[path = "model/operator.rs"]
mod operator;
#[path = "model/oracle.rs"]
mod oracle;
#[path = "model/planted.rs"]
mod planted;
#[path = "model/random.rs"]
mod random;
#[path = "model/requests.rs"]
mod requests;
#[path = "model/run.rs"]
mod run;
#[path = "model/user.rs"]
mod user;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use planted::{PLANTED, Planted};
use run::{Outcome, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A failing seed is repeated by this, with `MODEL_SEED`: it prints what has happened.
#[test]
fn one_seed() {
    let Some(seed) = number("MODEL_SEED") else { return };
    let wanted = std::env::var("MODEL_PLANTED").unwrap_or_default();
    let planted: Option<&Planted> =
        PLANTED.iter().find(|planted| !wanted.is_empty() && planted.name.contains(&wanted));
    let outcome = run(seed, planted, true);
    outcome.trace.iter().for_each(|line| println!("{line}"));
    assert!(outcome.wrong.is_empty(), "{:#?}", outcome.wrong);
}

/// Seeds from a base that is printed: `MODEL_SEEDS` of them, from `MODEL_BASE`.
#[test]
fn every_order_of_events_ends_well() {
    let seeds = number("MODEL_SEEDS").unwrap_or(50);
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let base = number("MODEL_BASE").unwrap_or_else(|| now() * 1_000_000);
    println!("seeds {base} to {}", base + seeds - 1);
    let (start, mut failed, mut sum) = (Instant::now(), Vec::new(), Outcome::default());
    for seed in base..base + seeds {
        let outcome = run(seed, None, false);
        sum.add(&outcome);
        if let Some(what) = outcome.wrong.into_iter().next() {
            failed.push((seed, what));
        }
    }
    println!("{seeds} seeds in {:.1?}: {sum}", start.elapsed());
    assert!(failed.is_empty(), "{} of {seeds} seeds end badly:\n{}", failed.len(), kinds(&failed));
}

/// Seeds until a planted fault has been found, at most.
const ENOUGH: u64 = 3_000;

#[test]
#[ignore = ".ci/model runs it: optimised, it takes seconds"]
fn every_planted_fault_is_found() {
    let wanted = std::env::var("MODEL_PLANTED").unwrap_or_default();
    let mut missed = Vec::new();
    for planted in PLANTED.iter().filter(|planted| planted.name.contains(&wanted)) {
        let found = (0..ENOUGH).find_map(|seed| {
            let what = run(seed, Some(planted), false).wrong.into_iter().next()?;
            // It has to be the fault that is found.
            run(seed, None, false).wrong.is_empty().then_some((seed, what))
        });
        match found {
            Some((seed, what)) => println!("{}: found by seed {seed}: {what:.150}", planted.name),
            None => missed.push(planted.name),
        }
    }
    assert!(missed.is_empty(), "not found in {ENOUGH} seeds: {missed:#?}");
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in 0..10 {
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        assert!(!first.trace.is_empty());
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
    let lines = kinds.iter().map(|(n, seed, what)| format!("{n:6} MODEL_SEED={seed}: {what}"));
    lines.collect::<Vec<_>>().join("\n")
}
