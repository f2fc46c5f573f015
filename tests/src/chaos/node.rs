//! The processes of a cluster's node: its components, and what runs in pods.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{command, wait};

/// A component that `tests/cluster/node` starts, and starts again.
pub type Component = &'static str;

/// The node of the cluster that `tests/cluster/up` has brought up.
#[derive(Debug)]
pub struct Node {
    name: String,
}

/// Where `ctr` finds the cluster's containers.
const CTR: [&str; 5] = ["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"];

impl Node {
    /// The one that the environment names.
    pub fn get() -> Result<Self> {
        Ok(Self { name: std::env::var("CLUSTER_NAME").context("CLUSTER_NAME is not set")? })
    }

    /// Whether it is one that `tests/cluster/up` has brought up, so that its processes are at hand.
    pub fn is_ours(&self) -> bool {
        command::run(&mut self.command(&["true"]), b"").is_ok_and(|ended| ended.ok)
    }

    /// A command among the node's processes.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(Path::new("cluster/enter"));
        command.arg(&self.name).args(args);
        command
    }

    /// Runs one to its end.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        command::run(&mut self.command(args), b"")?.success()
    }

    fn pid(&self, component: Component) -> Result<String> {
        Ok(self.run(&["cat", &format!("/run/pid/{component}")])?.trim().to_owned())
    }

    /// Sends a signal to processes of the node.
    pub fn signal(&self, signal: &str, pids: &[String]) -> Result<()> {
        let mut args = vec!["kill", signal];
        args.extend(pids.iter().map(String::as_str));
        self.run(&args).map(drop)
    }

    /// The state of a process, as the third field of `/proc/PID/stat` has it; none of one that is gone.
    pub fn state(&self, pid: &str) -> Result<Option<char>> {
        let stat = self.run(&["sh", "-c", &format!("cat /proc/{pid}/stat 2>/dev/null || true")])?;
        Ok(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).filter(|_| !stat.is_empty()))
    }

    /// Kills a component, and waits for the next one of it.
    pub fn kill(&self, component: Component) -> Result<()> {
        let old = self.pid(component)?;
        self.signal("-KILL", std::slice::from_ref(&old))?;
        wait::until_true(&format!("the next {component}"), Duration::from_secs(30), || {
            Ok(self.pid(component)? != old)
        })
    }

    /// Stops a component for so long.
    pub fn stop(&self, component: Component, long: Duration) -> Result<()> {
        self.stop_processes(&[self.pid(component)?], long)
    }

    /// Stops processes for so long.
    pub fn stop_processes(&self, pids: &[String], long: Duration) -> Result<()> {
        self.signal("-STOP", pids)?;
        let states = pids.iter().map(|pid| self.state(pid)).collect::<Result<Vec<_>>>();
        std::thread::sleep(long);
        let woken = self.signal("-CONT", pids);
        ensure!(states?.contains(&Some('T')), "none of {pids:?} was stopped");
        // What has ended meanwhile can't be woken.
        drop(woken);
        Ok(())
    }

    /// Kills a component and keeps it away for so long.
    pub fn away(&self, component: Component, long: Duration) -> Result<()> {
        let (old, file) = (self.pid(component)?, format!("/run/away/{component}"));
        self.run(&["touch", &file])?;
        let killed = self.signal("-KILL", std::slice::from_ref(&old));
        std::thread::sleep(long);
        let same = self.pid(component)? == old;
        self.run(&["rm", "-f", &file])?;
        killed?;
        ensure!(same, "{component} was there while it should have been away");
        wait::until_true(&format!("{component} again"), Duration::from_secs(30), || {
            Ok(self.pid(component)? != old)
        })
    }

    /// The first processes of containers, by the containers' ids.
    pub fn containers(&self) -> Result<Vec<(String, String)>> {
        let list = self.run(&[&CTR[..], &["tasks", "list"]].concat())?;
        let row = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some((words.next()?, words.next()?))
        };
        Ok(list.lines().skip(1).filter_map(row).collect())
    }

    /// The first processes of the containers of pods, as an answer of the API server lists them.
    pub fn processes(&self, pods: &Value) -> Result<Vec<(String, String)>> {
        let known = self.containers()?;
        let mut found = Vec::new();
        for pod in pods["items"].as_array().into_iter().flatten() {
            for container in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
                let id = container["containerID"].as_str().unwrap_or_default();
                let id = id.trim_start_matches("containerd://");
                if let Some((_, pid)) = known.iter().find(|(known, _)| known == id) {
                    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                    found.push((name.to_owned(), pid.clone()));
                }
            }
        }
        Ok(found)
    }
}
