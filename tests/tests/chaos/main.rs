//! Jobs on a cluster on which things go wrong at random: each ends with the right result, and nothing is left of it.
//!
//! ```sh
//! cargo test -p mapreduce-tests --features cluster --test chaos                              # some rounds, from a new seed
//! CHAOS_SEED=123 CHAOS_ROUNDS=1 cargo test -p mapreduce-tests --features cluster --test chaos   # one of them again
//! ```
//!
//! A round has two jobs and up to three faults, and a fault that had nothing to hit doesn't count. The cluster is one
//! that `tests/cluster/up` has brought up: only there a component that ends is started again.

mod jobs;
mod round;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use mapreduce_tests::chaos::node::Node;
use mapreduce_tests::chaos::store::FaultyStore;
use mapreduce_tests::cluster::Cluster;
use mapreduce_tests::tell;

/// Rounds without `CHAOS_ROUNDS`: ten jobs.
const ROUNDS: u64 = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_goes_wrong_results_are_right_and_nothing_is_left() -> Result<()> {
    let (cluster, node) = (Cluster::get()?, Node::get()?);
    let store = FaultyStore::start(cluster, &node, env!("CARGO_BIN_EXE_faulty-store"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let (first, rounds) = (number("CHAOS_SEED").unwrap_or(now), number("CHAOS_ROUNDS").unwrap_or(ROUNDS));
    let (mut hits, mut wrong) = (BTreeMap::<String, u32>::new(), Vec::new());
    let (mut seed, mut done) = (first, 0);
    while done < rounds {
        match round::run(cluster, &node, &store, seed) {
            Ok(struck) => {
                done += u64::from(!struck.is_empty());
                struck.into_iter().for_each(|fault| *hits.entry(fault).or_default() += 1);
            }
            Err(error) => {
                done += 1;
                tell(&format!("CHAOS_SEED={seed} ends badly: {error:#}"));
                wrong.push(seed);
            }
        }
        seed += 1;
        ensure!(seed < first + 3 * rounds.max(10), "hardly any fault has anything to hit: {hits:?}");
    }
    tell(&format!("{done} rounds from CHAOS_SEED={first}, {} end badly; hit: {hits:?}", wrong.len()));
    ensure!(wrong.is_empty(), "these seeds end badly: {wrong:?}");
    Ok(())
}
