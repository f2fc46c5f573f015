//! A node that is lost: its pods are replaced, and the job goes on within minutes.

use std::time::Duration;

use anyhow::{Result, ensure};
use mapreduce_tests::chaos::node::Node;
use mapreduce_tests::scenario::{LIMIT, scenario_alone};
use mapreduce_tests::watch::Watch;
use mapreduce_tests::{command, text, wait};
use serde_json::json;

/// From the loss of a node to the end of the job: the node counts as lost after 50 s, its pods are replaced 10 s later,
/// should end within 30 s, and are removed 10 s after that.
const REPLACED: Duration = Duration::from_mins(5);

/// The second node, which goes with the test.
struct SecondNode;

impl SecondNode {
    fn up() -> Result<Self> {
        Self::run("up")?;
        Ok(Self)
    }

    fn run(what: &str) -> Result<()> {
        let name = std::env::var("CLUSTER_NAME")?;
        command::run(std::process::Command::new("cluster/second").args([&name, what]), b"")?
            .success()
            .map(drop)
    }
}

impl Drop for SecondNode {
    fn drop(&mut self) {
        let _ = Self::run("down");
    }
}

#[test]
fn pods_on_a_node_that_is_lost_are_replaced_though_its_object_stays() -> Result<()> {
    if !Node::get()?.is_ours() {
        println!(
            "skipped: a second node is only to be had on a cluster that tests/cluster/up has brought up"
        );
        return Ok(());
    }
    scenario_alone("lost-node", |scenario| {
        let text = text::text(6 << 20)?;
        for (i, piece) in text.chunks(2 << 20).enumerate() {
            scenario.put(&format!("in/{i}"), piece.to_vec())?;
        }
        let second = SecondNode::up()?;
        scenario.kubectl(&["cordon", "node"])?;
        // So slow that no map pod ends before its node is lost.
        let job = scenario.job("lost", "in/", "out/").word_count(1).set("/retries", json!(0)).slow(10);
        let pods = Watch::of(scenario, "pods", &job)?;
        let submitted = scenario.submit(job);
        let on_second = wait::until("a map pod on the second node", LIMIT, || Ok(pods.running("map")));
        let lost = SecondNode::run("lose");
        scenario.kubectl(&["uncordon", "node"])?;
        let (job, lost_pod) = (submitted?, on_second?);
        lost?;
        wait::until_true("the end of the job", REPLACED, || {
            Ok(scenario.read(&job)?["status"]["phase"] == "Succeeded")
        })?;
        let node = scenario.get("node", "node2")?;
        ensure!(
            !node.is_null(),
            "the object of the lost node is gone: Kubernetes itself has removed its pods"
        );
        let status = scenario.succeeded(&job)?;
        // Without retries: what a node does counts as nobody's failure.
        ensure!(status["maps"]["failed"] == 0, "{:#}", status["maps"]);
        let task = format!("map {}", lost_pod.index);
        ensure!(pods.uids_by_task()[&task].len() >= 2, "the pod was not replaced: {:?}", pods.uids_by_task());
        let words: Vec<_> = text.chunks(2 << 20).collect();
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&words.join(&b'\n'))?)?;
        scenario.only_parts("out/", 1)?;
        drop(second);
        Ok(())
    })
}
