//! A round: jobs, faults, and what has become of both.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mapreduce_tests::chaos::fault::{Planned, Target};
use mapreduce_tests::chaos::node::Node;
use mapreduce_tests::chaos::random::Random;
use mapreduce_tests::chaos::store::FaultyStore;
use mapreduce_tests::cluster::Cluster;
use mapreduce_tests::operator::Operator;
use mapreduce_tests::scenario::{Scenario, scenario_alone};
use mapreduce_tests::{tell, wait};
use serde_json::Value;

use crate::jobs::{Input, Trial};

/// What a job takes at most once all is well again: pods that were lost are given up after minutes.
const PATIENCE: Duration = Duration::from_mins(10);

/// Runs the round of a seed; the faults that have hit something.
pub(crate) fn run(cluster: &Cluster, node: &Node, store: &FaultyStore, seed: u64) -> Result<Vec<String>> {
    let mut random = Random(seed);
    let mut faults: Vec<Planned> = Vec::new();
    for _ in 0..=random.below(3) {
        let fault = Planned::draw(&mut random);
        if !faults.iter().any(|other| other.collides(&fault)) {
            faults.push(fault);
        }
    }
    let mut struck = Vec::new();
    scenario_alone("chaos", |scenario| {
        let input = Input::new()?;
        input.upload(scenario)?;
        let storage = store.storage("s3-keys");
        let trials = (0..2)
            .map(|number| Trial::draw(&mut random, scenario, &storage, number))
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        for trial in &trials {
            scenario.apply(&trial.job.manifest)?;
        }
        let target = Target { cluster, node, store, namespace: &scenario.namespace };
        let all: Vec<_> = std::thread::scope(|scope| {
            let strike = |fault: &Planned| {
                let fault = *fault;
                scope.spawn(move || {
                    std::thread::sleep(fault.after.saturating_sub(start.elapsed()));
                    let hit = target.strike(&fault).with_context(|| fault.to_string());
                    (fault, hit)
                })
            };
            let threads: Vec<_> = faults.iter().map(strike).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let mut said = Vec::new();
        for (fault, hit) in all {
            if let Some(what) = hit? {
                said.push(format!("{fault} ({what})"));
                struck.push(kind(&fault));
            }
        }
        let mut seconds = Vec::new();
        for trial in &trials {
            let status =
                ended(scenario, trial).with_context(|| format!("{:?}, with {said:?}", trial.work))?;
            seconds.push(start.elapsed().as_secs());
            trial
                .judge(scenario, &input, &status)
                .with_context(|| format!("{:?}, with {said:?}", trial.work))?;
        }
        leave_nothing(scenario, &trials).with_context(|| format!("with {said:?}"))?;
        let works: Vec<_> = trials.iter().map(|trial| trial.work).collect();
        tell(&format!("CHAOS_SEED={seed}: {works:?} in {seconds:?} s, with {}", said.join(", ")));
        well_again(cluster)
    })?;
    Ok(struck)
}

/// The name under which faults are counted.
fn kind(fault: &Planned) -> String {
    format!("{:?}", fault.fault)
}

/// Waits for the end of a job, whatever the API server says meanwhile.
fn ended(scenario: &Scenario, trial: &Trial) -> Result<Value> {
    wait::until(&format!("the end of {}", trial.job.name), PATIENCE, || {
        let Ok(mut read) = scenario.read(&trial.job) else { return Ok(None) };
        let phase = read["status"]["phase"].as_str().unwrap_or_default();
        Ok(matches!(phase, "Succeeded" | "Failed").then(|| read["status"].take()))
    })
}

/// Deletes the jobs; an error unless all goes that was made for them.
fn leave_nothing(scenario: &Scenario, trials: &[Trial]) -> Result<()> {
    scenario.kubectl(&["delete", "mrj", "--all", "--wait=false"])?;
    let kinds = "mapreducejobs,jobs,pods,configmaps";
    let label = "--selector=mapreduce.dev/job";
    let mut left = String::new();
    let gone = wait::until_true("all that was made for the jobs to go", PATIENCE, || {
        left = scenario.kubectl(&["get", "mapreducejobs", "-o", "name"])?
            + &scenario.kubectl(&["get", kinds, label, "-o", "name"])?;
        Ok(left.trim().is_empty())
    });
    gone.with_context(|| left.clone())?;
    for trial in trials {
        trial.judge_rest(scenario).with_context(|| trial.job.name.clone())?;
    }
    Ok(())
}

/// Waits until the next round can begin.
fn well_again(cluster: &Cluster) -> Result<()> {
    wait::until_true("the cluster to be well again", PATIENCE, || {
        let ask = |args: &[&str]| mapreduce_tests::command::run(&mut cluster.kubectl("default", args), b"");
        let ready = ask(&["get", "--raw", "/readyz"])?.ok;
        let node = ask(&["wait", "--for=condition=Ready", "node/node", "--timeout=1s"])?.ok;
        Ok(ready && node)
    })?;
    Operator(cluster).is_back()?;
    ensure!(wait_for_store(cluster).is_ok(), "the S3 server is not back");
    Ok(())
}

fn wait_for_store(cluster: &Cluster) -> Result<()> {
    wait::until_true("the S3 server", Duration::from_mins(1), || Ok(cluster.bucket.list("none/").is_ok()))
}
