//! Everything that was ever there, even for a moment: a watch that keeps what it has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::manifest::MrJob;
use crate::scenario::Scenario;

/// Where a pod was when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The object's name.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// `plan`, `map`, `reduce` or `cleanup`.
    pub phase: String,
    /// The task's number; empty for a Job.
    pub index: String,
    /// A pod's `status.phase`; empty for a Job.
    pub state: String,
}

/// A watch of a job's Jobs or pods.
#[derive(Debug)]
pub struct Watch {
    kubectl: Child,
    seen: Arc<Mutex<Vec<Sight>>>,
}

impl Watch {
    /// Watches `jobs` or `pods` of a job from now on.
    pub fn of(scenario: &Scenario, kind: &str, job: &MrJob) -> Result<Self> {
        let fields = [
            "{.metadata.name}",
            "{.metadata.uid}",
            r"{.metadata.labels.mapreduce\.dev/phase}",
            r"{.metadata.annotations.batch\.kubernetes\.io/job-completion-index}",
            "{.status.phase}",
        ];
        // No TAB between them: kubectl would make spaces of it.
        let path = format!("-o=jsonpath={}{{\"\\n\"}}", fields.join("|"));
        let label = format!("mapreduce.dev/job={}", job.name);
        let mut kubectl = scenario
            .cluster
            .kubectl(&scenario.namespace, &["get", kind, "--selector", &label, "--watch", &path])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("can't run kubectl")?;
        let lines = kubectl.stdout.take().context("no output to read")?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut fields = line.split('|').map(str::to_owned);
                let mut next = || fields.next().unwrap_or_default();
                let sight = Sight { name: next(), uid: next(), phase: next(), index: next(), state: next() };
                to.lock().unwrap_or_else(PoisonError::into_inner).push(sight);
            }
        });
        Ok(Self { kubectl, seen })
    }

    /// All that was seen so far.
    pub fn seen(&self) -> Vec<Sight> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A pod of this phase that runs, as far as is known.
    pub fn running(&self, phase: &str) -> Option<Sight> {
        let last: BTreeMap<String, Sight> = self.seen().into_iter().map(|s| (s.uid.clone(), s)).collect();
        last.into_values().find(|pod| pod.phase == phase && pod.state == "Running")
    }

    /// Whether a pod was seen to have done its task.
    pub fn has_succeeded(&self, uid: &str) -> bool {
        self.seen().iter().any(|seen| seen.uid == uid && seen.state == "Succeeded")
    }

    /// The UIDs that each name has had: more than one means that it was made more than once.
    pub fn uids_by_name(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.by(|sight| sight.name.clone())
    }

    /// The UIDs of the pods that each task has had: more than one means that it was run more than once.
    pub fn uids_by_task(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.by(|sight| format!("{} {}", sight.phase, sight.index))
    }

    fn by(&self, name: impl Fn(&Sight) -> String) -> BTreeMap<String, BTreeSet<String>> {
        let mut uids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sight in self.seen() {
            uids.entry(name(&sight)).or_default().insert(sight.uid);
        }
        uids
    }
}

/// An error unless a job's Jobs were made once, and each of its tasks had one pod.
pub fn nothing_ran_twice(jobs: &Watch, pods: &Watch, status: &Value) -> Result<()> {
    for (name, uids) in jobs.uids_by_name() {
        ensure!(uids.len() == 1, "Job {name} was made {} times", uids.len());
    }
    ensure!(jobs.uids_by_name().len() == 3, "{:?}", jobs.uids_by_name());
    let total = |phase: &str| status[phase]["total"].as_u64().unwrap_or_default() as usize;
    let tasks = pods.uids_by_task();
    ensure!(tasks.len() == 1 + total("maps") + total("reduces"), "{tasks:?}");
    for (task, uids) in tasks {
        ensure!(uids.len() == 1, "task {task} had {} pods", uids.len());
    }
    ensure!(status["maps"]["failed"] == 0 && status["reduces"]["failed"] == 0, "{status:#}");
    Ok(())
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
