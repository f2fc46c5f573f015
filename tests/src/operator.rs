//! The operator's pod, to be ended at the worst moment.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::cluster::{Cluster, RELEASE};
use crate::{command, wait};

const SELECTOR: &str = "--selector=app.kubernetes.io/name=mapreduce-operator";

/// The operator of a cluster.
#[derive(Debug)]
pub struct Operator<'a>(pub &'a Cluster);

impl Operator<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        command::run(&mut self.0.kubectl(RELEASE, args), b"")?.success()
    }

    /// Names and UIDs of its pods that are not being deleted.
    fn pods(&self) -> Result<Vec<(String, String)>> {
        let text = self.kubectl(&["get", "pods", SELECTOR, "--output=json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = list["items"].as_array().into_iter().flatten().map(|pod| &pod["metadata"]);
        let alive = pods.filter(|meta| meta["deletionTimestamp"].is_null());
        Ok(alive.map(|meta| (text(&meta["name"]), text(&meta["uid"]))).collect())
    }

    /// Kills it, without a chance to finish what it was at. One that ends by itself meanwhile is not counted: its
    /// successor is killed.
    pub fn kill(&self) -> Result<()> {
        wait::until_true("an operator to kill", Duration::from_mins(1), || {
            let mut is_killed = false;
            for (name, _) in self.pods()? {
                let args = ["delete", "pod", &name, "--grace-period=0", "--force", "--ignore-not-found"];
                is_killed |= self.kubectl(&args)?.contains("deleted");
            }
            Ok(is_killed)
        })
    }

    /// Takes it away, for as long as another one runs its jobs.
    pub fn leave(&self) -> Result<()> {
        self.kubectl(&["scale", "deployment", "mapreduce-operator", "--replicas=0"])?;
        wait::until_true("no operator", Duration::from_mins(1), || {
            Ok(self.kubectl(&["get", "pods", SELECTOR, "--output=name"])?.is_empty())
        })
    }

    /// Brings it back.
    pub fn come_back(&self) -> Result<()> {
        self.kubectl(&["scale", "deployment", "mapreduce-operator", "--replicas=1"])?;
        self.is_back()
    }

    /// Waits until there is one that works.
    pub fn is_back(&self) -> Result<()> {
        wait::until_true("an operator that is ready", Duration::from_mins(1), || {
            let path = "-o=jsonpath={.items[*].status.readyReplicas}";
            Ok(self.kubectl(&["get", "deployments", SELECTOR, path])? == "1")
        })
    }
}
