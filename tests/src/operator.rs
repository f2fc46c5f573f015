//! The operator's pod, to be ended at the worst moment.

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, RELEASE};
use crate::{command, wait};
use std::time::Duration;

/// The operator of a cluster.
#[derive(Debug)]
pub struct Operator<'a>(pub &'a Cluster);

impl Operator<'_> {
    fn kubectl(&self, args: &[&str]) -> Result<String> {
        command::run(&mut self.0.kubectl(RELEASE, args), b"")?.success()
    }

    /// The UIDs of its pods that are not being deleted.
    fn pods(&self) -> Result<Vec<(String, String)>> {
        let path = r#"-o=jsonpath={range .items[?(!@.metadata.deletionTimestamp)]}{.metadata.name}{" "}{.metadata.uid}{"\n"}{end}"#;
        let text =
            self.kubectl(&["get", "pods", "--selector=app.kubernetes.io/name=mapreduce-operator", path])?;
        let pair = |line: &str| line.split_once(' ').map(|(name, uid)| (name.to_owned(), uid.to_owned()));
        Ok(text.lines().filter_map(pair).collect())
    }

    /// Kills it, without a chance to finish what it was at. An error unless there was one to kill.
    pub fn kill(&self) -> Result<()> {
        let before = self.pods()?;
        ensure!(!before.is_empty(), "there is no operator to kill");
        for (name, _) in &before {
            self.kubectl(&["delete", "pod", name, "--grace-period=0", "--force"])?;
        }
        let after = self.pods()?;
        ensure!(before.iter().all(|pod| !after.contains(pod)), "{before:?} was not killed");
        Ok(())
    }

    /// Waits until there is one that works.
    pub fn is_back(&self) -> Result<()> {
        wait::until_true("an operator that is ready", Duration::from_secs(60), || {
            let path = "-o=jsonpath={.status.readyReplicas}";
            Ok(self.kubectl(&[
                "get",
                "deployments",
                "--selector=app.kubernetes.io/name=mapreduce-operator",
                path,
            ])? == "1")
        })
    }
}
