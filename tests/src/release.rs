//! The chart once more, with other values, while the suite's own operator is away: two operators would run the same jobs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::scenario::{LIMIT, Scenario};
use crate::{command, wait};

/// Its name.
const NAME: &str = "other";
/// The name of its objects.
pub const FULL_NAME: &str = "other-mapreduce-operator";

/// A release in a test's namespace; it goes when this is dropped. The test has to have the cluster for itself.
#[derive(Debug)]
pub struct Release<'a> {
    cluster: &'a Cluster,
    namespace: String,
}

impl Release<'_> {
    /// Installs it.
    pub fn install(scenario: &Scenario, values: &[&str]) -> Result<Self> {
        let release = Self { cluster: scenario.cluster, namespace: scenario.namespace.clone() };
        Operator(scenario.cluster).leave()?;
        // What is there once in a cluster is the first release's.
        let values = [&["crds.install=false", "rbac.userRoles=false"], values].concat();
        scenario.cluster.install_release(&release.namespace, NAME, &values)?;
        Ok(release)
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        command::run(&mut self.cluster.kubectl(&self.namespace, args), b"")?.success()
    }

    /// The pod that works, once there is one.
    pub fn leader(&self) -> Result<String> {
        wait::until("a leader", LIMIT, || {
            let path = "-o=jsonpath={.spec.holderIdentity}";
            let holder = self.kubectl(&["get", "lease", FULL_NAME, "--ignore-not-found", path])?;
            Ok(holder.rsplit_once('_').map(|(pod, _)| pod.to_owned()))
        })
    }

    /// Waits until another pod than this one works.
    pub fn is_succeeded(&self, leader: &str) -> Result<String> {
        wait::until(&format!("another leader than {leader}"), LIMIT, || {
            Ok(Some(self.leader()?).filter(|holder| holder != leader))
        })
    }

    /// Deletes a pod of it.
    pub fn delete(&self, pod: &str, args: &[&str]) -> Result<()> {
        self.kubectl(&[&["delete", "pod", pod, "--wait=false"], args].concat()).map(drop)
    }

    /// A pod of it, in a list as the API server's.
    pub fn pod(&self, name: &str) -> Result<Value> {
        let field = format!("--field-selector=metadata.name={name}");
        let text = self.kubectl(&["get", "pods", &field, "--output=json"])?;
        let list: Value = serde_json::from_str(&text)?;
        ensure!(list["items"][0].is_object(), "there is no pod {name}");
        Ok(list)
    }

    /// Waits until the operator in a pod has ended, and is started again; its exit code.
    pub fn exit_code(&self, pod: &str) -> Result<i64> {
        wait::until(&format!("the end of the operator in {pod}"), Duration::from_mins(1), || {
            let pod = &self.pod(pod)?["items"][0];
            Ok(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"].as_i64())
        })
    }

    fn remove(&self) -> Result<()> {
        let log = ["logs", "--selector=app.kubernetes.io/instance=other", "--tail=60", "--prefix"];
        let log = command::run(&mut self.cluster.kubectl(&self.namespace, &log), b"")?;
        // Seen where the test has failed.
        println!("$ the log of {FULL_NAME}\n{}{}", log.stdout, log.stderr);
        self.cluster.uninstall(&self.namespace, NAME).context("the release can't be removed")
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        for ended in [self.remove(), Operator(self.cluster).come_back()] {
            if let Err(error) = ended {
                crate::tell(&format!("{error:#}"));
            }
        }
    }
}
