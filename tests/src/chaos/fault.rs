//! What goes wrong, when, and the proof that it did.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::chaos::node::{Component, Node};
use crate::chaos::random::Random;
use crate::chaos::store::FaultyStore;
use crate::cluster::{Cluster, RELEASE};
use crate::command;

/// What is done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT after a while.
    Stop,
    /// SIGKILL, and for a while there is no other one.
    Away,
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// To a component of the cluster, or the S3 server.
    Component(Component, Blow),
    /// To the operator's process.
    Operator(Blow),
    /// To a process of a task.
    Task(Blow),
    /// To requests to the store.
    Store(&'static str),
    /// All pods are evicted, and for a while none is placed.
    Drain,
    /// All that runs on the node but the API server ends at once, as when its power fails.
    Power,
}

/// A fault with its time.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    /// After the jobs were applied.
    pub after: Duration,
    /// How long it lasts, if it does.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

const COMPONENTS: [Component; 9] =
    ["etcd", "apiserver", "manager", "scheduler", "kubelet", "containerd", "s3", "proxy", "coredns"];
const STORE: [&str; 6] = ["unavailable", "reset", "hang", "slow", "lose-answer", "cut-answer"];

impl Planned {
    /// Draws one. Half of them hit the job's own path: the operator, a task, the store.
    pub fn draw(random: &mut Random) -> Self {
        let fault = match random.below(12) {
            0 | 1 => Fault::Operator(random.pick(&[Blow::Kill, Blow::Stop])),
            2 | 3 => Fault::Task(random.pick(&[Blow::Kill, Blow::Stop])),
            4..=6 => Fault::Store(random.pick(&STORE)),
            7 => random.pick(&[Fault::Drain, Fault::Power]),
            _ => {
                Fault::Component(random.pick(&COMPONENTS), random.pick(&[Blow::Kill, Blow::Stop, Blow::Away]))
            }
        };
        let after = Duration::from_millis(random.below(20_000));
        // Now and then long enough for the node to count as lost, or for a store to count as away.
        let lasts =
            if random.below(10) == 0 { 45_000 + random.below(30_000) } else { 500 + random.below(12_000) };
        Self { after, lasts: Duration::from_millis(lasts), fault }
    }

    /// Whether both can't be told apart, or undo each other.
    pub fn collides(&self, other: &Self) -> bool {
        let target = |fault: &Fault| match fault {
            Fault::Component("containerd", _) | Fault::Power => "kubelet",
            Fault::Component(component, _) => *component,
            Fault::Operator(_) => "operator",
            Fault::Task(_) => "task",
            Fault::Store(_) => "store",
            Fault::Drain => "scheduler",
        };
        target(&self.fault) == target(&other.fault)
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after {:.1} s", self.fault, self.after.as_secs_f32())?;
        match self.fault {
            Fault::Component(_, Blow::Kill)
            | Fault::Operator(Blow::Kill)
            | Fault::Task(Blow::Kill)
            | Fault::Power => Ok(()),
            _ => write!(f, " for {:.1} s", self.lasts.as_secs_f32()),
        }
    }
}

/// What faults happen to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The cluster, as its users see it.
    pub cluster: &'a Cluster,
    /// Its processes.
    pub node: &'a Node,
    /// Where pods send their requests.
    pub store: &'a FaultyStore,
    /// The namespace of the jobs.
    pub namespace: &'a str,
}

impl Target<'_> {
    /// Lets a fault happen, for as long as it lasts; what it has hit, and nothing where there was nothing to hit.
    pub fn strike(&self, planned: &Planned) -> Result<Option<String>> {
        match planned.fault {
            Fault::Component(component, blow) => {
                match blow {
                    Blow::Kill => self.node.kill(component)?,
                    Blow::Stop => self.node.stop(component, planned.lasts)?,
                    Blow::Away => self.node.away(component, planned.lasts)?,
                }
                Ok(Some(component.to_owned()))
            }
            Fault::Operator(blow) => {
                let label = "app.kubernetes.io/name=mapreduce-operator";
                Ok(self.hit(RELEASE, label, blow, planned, usize::MAX))
            }
            Fault::Task(blow) => {
                let which = planned.after.as_millis() as usize;
                Ok(self.hit(self.namespace, "mapreduce.dev/phase", blow, planned, which))
            }
            Fault::Store(fault) => {
                self.store.set(fault)?;
                std::thread::sleep(planned.lasts);
                let met = self.store.set("pass")?;
                Ok((met > 0).then(|| format!("{met} requests")))
            }
            Fault::Drain => self.drain(planned.lasts),
            Fault::Power => self.power(),
        }
    }

    /// Hits one process of the pods with a label, or all of them.
    fn hit(
        &self,
        namespace: &str,
        label: &str,
        blow: Blow,
        planned: &Planned,
        which: usize,
    ) -> Option<String> {
        // Tasks come and go: the next one will do.
        let found = crate::wait::until("a process to hit", Duration::from_secs(20), || {
            let Ok(pods) = self.pods(namespace, label) else { return Ok(None) };
            let found = self.node.processes(&pods).unwrap_or_default();
            Ok(Some(found).filter(|found| !found.is_empty()))
        });
        let mut processes = found.ok()?;
        if which < usize::MAX {
            processes = vec![processes.swap_remove(which % processes.len())];
        }
        let (names, pids): (Vec<_>, Vec<_>) = processes.into_iter().unzip();
        let done = match blow {
            Blow::Stop => self.node.stop_processes(&pids, planned.lasts),
            Blow::Kill | Blow::Away => self.node.signal("-KILL", &pids),
        };
        // One that ends at just this moment was not hit.
        done.is_ok().then(|| names.join(" "))
    }

    fn pods(&self, namespace: &str, label: &str) -> Result<Value> {
        let args = ["get", "pods", "--selector", label, "--request-timeout=5s", "--output=json"];
        let text = command::run(&mut self.cluster.kubectl(namespace, &args), b"")?.success()?;
        serde_json::from_str(&text).context("pods are no JSON")
    }

    fn drain(&self, long: Duration) -> Result<Option<String>> {
        let kubectl = |args: &[&str]| command::run(&mut self.cluster.kubectl("default", args), b"");
        let drain =
            ["drain", "node", "--force", "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=20s"];
        let drained = kubectl(&drain)?;
        std::thread::sleep(long);
        crate::wait::until_true("the node to be used again", Duration::from_mins(2), || {
            Ok(kubectl(&["uncordon", "node"])?.ok)
        })?;
        let evicted = drained.stdout.lines().filter(|line| line.starts_with("evicting pod")).count();
        Ok((evicted > 0).then(|| format!("{evicted} pods")))
    }

    fn power(&self) -> Result<Option<String>> {
        // Another fault may have taken containerd away for the moment.
        let containers =
            crate::wait::until("containerd", Duration::from_mins(2), || Ok(self.node.containers().ok()))?;
        let pids: Vec<String> = containers.into_iter().map(|(_, pid)| pid).collect();
        // The kubelet must not see how its pods end.
        let away = ["kubelet", "containerd"];
        for component in away {
            self.node.run(&["touch", &format!("/run/away/{component}")])?;
        }
        let kill = "kill -KILL $(cat /run/pid/kubelet /run/pid/containerd) \"$@\"";
        let mut args = vec!["sh", "-c", kill, "sh"];
        args.extend(pids.iter().map(String::as_str));
        let killed = self.node.run(&args);
        for component in away {
            self.node.run(&["rm", "-f", &format!("/run/away/{component}")])?;
        }
        ensure!(killed.is_ok() || pids.is_empty(), "{killed:?}");
        Ok(Some(format!("{} containers", pids.len())))
    }
}
