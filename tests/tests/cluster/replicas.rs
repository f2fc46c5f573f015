//! Two replicas of the operator, and the one that works ends: the other brings its job to the right end, and runs
//! nothing twice.

use anyhow::{Context as _, Result, ensure};
use mapreduce_tests::chaos::node::Node;
use mapreduce_tests::release::Release;
use mapreduce_tests::scenario::scenario_alone;
use mapreduce_tests::text;
use mapreduce_tests::watch::{Watch, nothing_ran_twice};
use serde_json::json;

/// The exit code of an operator that has lost its lease.
const LEASE_LOST: i64 = 3;

/// A lease that runs out soon.
const SHORT: [&str; 3] =
    ["leaderElection.leaseDuration=6s", "leaderElection.renewDeadline=4s", "leaderElection.retryPeriod=1s"];
/// One that runs out long after the test has given up: only a leader that gives it away is succeeded.
const LONG: [&str; 2] = ["leaderElection.leaseDuration=60m", "leaderElection.renewDeadline=40m"];

/// Runs a job whose leader is struck while it maps; `after` the other has taken over.
fn takeover(
    name: &str,
    lease: &[&str],
    strike: impl FnOnce(&Release<'_>, &str) -> Result<()>,
    after: impl FnOnce(&Release<'_>, &str) -> Result<()>,
) -> Result<()> {
    scenario_alone(name, |scenario| {
        let text = text::text(24 << 20)?;
        scenario.put("in/a", text.clone())?;
        let values = [&["replicas=2", "watchOwnNamespace=true"], lease].concat();
        let release = Release::install(scenario, &values)?;
        let job = scenario
            .job(name, "in/", "out/")
            .map("words")
            .reduce("sum", 2)
            .set("/input/splitSize", json!("6Mi"))
            .slow(25);
        let (jobs, pods) = (Watch::of(scenario, "jobs", &job)?, Watch::of(scenario, "pods", &job)?);
        let job = scenario.submit(job)?;
        scenario.in_phase(&job, "Mapping")?;
        let leader = release.leader()?;
        strike(&release, &leader)?;
        ensure!(scenario.read(&job)?["status"]["phase"] == "Mapping", "{leader} was struck too late");
        let other = release.is_succeeded(&leader)?;
        println!("{leader} was succeeded by {other}");
        after(&release, &leader)?;
        let status = scenario.succeeded(&job)?;
        nothing_ran_twice(&jobs, &pods, &status)?;
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)?;
        scenario.only_parts("out/", 2)
    })
}

#[test]
fn a_leader_that_stands_still_is_succeeded_and_ends_when_it_goes_on() -> Result<()> {
    let Ok(node) = Node::get() else {
        mapreduce_tests::tell("left out: no process of this cluster can be stopped from here");
        return Ok(());
    };
    let stopped = std::cell::RefCell::new(Vec::new());
    let stop = |release: &Release<'_>, leader: &str| {
        let (_, found) = node.processes(&release.pod(leader)?)?.pop().context("the leader has no process")?;
        stopped.replace(vec![found]);
        node.signal("-STOP", &stopped.borrow())?;
        ensure!(node.state(&stopped.borrow()[0])? == Some('T'), "{leader} was not stopped");
        Ok(())
    };
    takeover("stopped", &SHORT, stop, |release, leader| {
        // Before the kubelet ends it for not answering probes.
        node.signal("-CONT", &stopped.take())?;
        let code = release.exit_code(leader)?;
        ensure!(code == LEASE_LOST, "{leader} has ended with {code}");
        Ok(())
    })
}

#[test]
fn a_leader_that_is_killed_is_succeeded() -> Result<()> {
    let kill = |release: &Release<'_>, leader: &str| release.delete(leader, &["--grace-period=0", "--force"]);
    takeover("leader-killed", &SHORT, kill, |_, _| Ok(()))
}

#[test]
fn a_leader_whose_pod_is_deleted_gives_its_lease_away() -> Result<()> {
    takeover("leader-deleted", &LONG, |release, leader| release.delete(leader, &[]), |_, _| Ok(()))
}
