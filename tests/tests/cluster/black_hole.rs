//! Connections to the API server that become black holes: packets are dropped, and nobody says so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mapreduce_tests::chaos::node::Node;
use mapreduce_tests::cluster::RELEASE;
use mapreduce_tests::scenario::{LIMIT, scenario_alone};
use mapreduce_tests::{command, tell, wait};

/// Probes of a silent connection and the limit of a request are half of it.
const NOTICED: Duration = Duration::from_mins(1);

/// The packets of the operator's connections are dropped, until this goes.
struct BlackHole<'a> {
    node: &'a Node,
    rules: Vec<Vec<String>>,
}

impl<'a> BlackHole<'a> {
    /// Takes the connections that there are; new ones work.
    fn of(node: &'a Node, pod: &str) -> Result<Self> {
        let sockets = node.run(&["ss", "-Htn", "state", "established", "sport", "=", ":6443", "dst", pod])?;
        let peers = sockets.lines().filter_map(|line| line.split_whitespace().last());
        let ports = peers.filter_map(|peer| Some(peer.rsplit_once(':')?.1.to_owned()));
        let mut hole = Self { node, rules: Vec::new() };
        for port in ports {
            let rule = ["INPUT", "-p", "tcp", "-s", pod, "--sport", &port, "--dport", "6443", "-j", "DROP"];
            hole.rules.push(rule.map(str::to_owned).to_vec());
        }
        ensure!(!hole.rules.is_empty(), "the operator at {pod} has no connection to the API server");
        hole.each("-I")?;
        Ok(hole)
    }

    fn each(&self, verb: &str) -> Result<()> {
        self.rules.iter().try_for_each(|rule| {
            let args: Vec<&str> =
                ["iptables", verb].into_iter().chain(rule.iter().map(String::as_str)).collect();
            self.node.run(&args).map(drop)
        })
    }
}

impl Drop for BlackHole<'_> {
    fn drop(&mut self) {
        let _ = self.each("-D");
    }
}

#[test]
fn connections_that_become_black_holes_are_given_up_within_a_minute() -> Result<()> {
    let node = Node::get()?;
    if !node.is_ours() {
        println!("skipped: packets are only to be dropped on a cluster that tests/cluster/up has brought up");
        return Ok(());
    }
    scenario_alone("hole", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let path = "-o=jsonpath={.items[0].status.podIP}";
        let selector = "--selector=app.kubernetes.io/name=mapreduce-operator";
        let mut get = scenario.cluster.kubectl(RELEASE, &["get", "pods", selector, path]);
        let pod = command::run(&mut get, b"")?.success()?;
        let hole = BlackHole::of(&node, pod.trim()).context("no black hole")?;
        let start = Instant::now();
        let job = scenario.submit(scenario.job("hole", "in/", "out/").word_count(1))?;
        wait::until_true("the operator's first sign", NOTICED, || {
            Ok(scenario.read(&job)?["status"]["phase"].is_string())
        })?;
        tell(&format!(
            "{} connections were black holes; noticed after {} s",
            hole.rules.len(),
            start.elapsed().as_secs()
        ));
        wait::until_true("the end", LIMIT, || Ok(scenario.read(&job)?["status"]["phase"] == "Succeeded"))?;
        drop(hole);
        scenario.only_parts("out/", 1)
    })
}
