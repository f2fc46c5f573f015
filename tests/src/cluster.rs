//! The cluster that the environment names, with the chart installed.
//!
//! The variables are those that `tests/cluster/up` and `tests/cluster/kind` print. Two more may be
//! set where the cluster has the images under other names than the chart's own: `OPERATOR_IMAGE`
//! and `WORKER_IMAGE`. `CHART` is another chart than this repository's, such as the one of a release.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Context as _, Result};

use crate::bucket::Bucket;
use crate::command;

/// The release and its namespace.
pub const RELEASE: &str = "mapreduce";

/// A cluster on which the operator runs.
#[derive(Debug)]
pub struct Cluster {
    programs: Option<PathBuf>,
    /// The S3 server as pods reach it.
    pub s3_endpoint: String,
    /// Its bucket, as this process reaches it.
    pub bucket: Bucket,
}

static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
static TURN: RwLock<()> = RwLock::new(());

impl Cluster {
    /// The cluster. The first call installs the chart.
    pub fn get() -> Result<&'static Self> {
        let made = CLUSTER.get_or_init(|| Self::install().map_err(|e| format!("{e:#}")));
        made.as_ref().map_err(|e| anyhow::anyhow!("no cluster: {e}"))
    }

    /// Held by a test that others may run beside.
    pub fn share() -> RwLockReadGuard<'static, ()> {
        TURN.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held by a test that wants the cluster for itself, for it measures time.
    pub fn alone() -> RwLockWriteGuard<'static, ()> {
        TURN.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn install() -> Result<Self> {
        variable("KUBECONFIG")?;
        let cluster = Self {
            programs: std::env::var_os("CLUSTER_BIN").map(PathBuf::from),
            s3_endpoint: variable("S3_CLUSTER_ENDPOINT")?,
            bucket: Bucket::new(
                &variable("S3_ENDPOINT")?,
                &variable("S3_REGION")?,
                &variable("S3_BUCKET")?,
                &variable("S3_ACCESS_KEY")?,
                &variable("S3_SECRET_KEY")?,
            )?,
        };
        // What an earlier run has left, on a cluster that is kept: the image may be another since.
        cluster.uninstall(RELEASE, RELEASE)?;
        cluster.install_release(RELEASE, RELEASE, &[])?;
        Ok(cluster)
    }

    /// Installs a release of the chart, with these values beside those that all tests have.
    pub(crate) fn install_release(&self, namespace: &str, release: &str, values: &[&str]) -> Result<()> {
        let own = Path::new("../charts/mapreduce-operator").canonicalize()?;
        let chart = std::env::var_os("CHART").map_or(own, PathBuf::from);
        let chart = chart.to_string_lossy();
        // Tests don't wait as long as people do.
        let mut all = vec!["startGrace=2s".to_owned(), "lostNodeTimeout=10s".to_owned()];
        all.extend(image("OPERATOR_IMAGE", "image"));
        all.extend(image("WORKER_IMAGE", "worker.image"));
        all.extend(values.iter().map(|value| (*value).to_owned()));
        let mut install = vec!["install", "--create-namespace", "--wait", "--timeout=120s"];
        install.extend(["--namespace", namespace, release, &chart]);
        for value in &all {
            install.extend(["--set", value]);
        }
        self.helm(&install).map(drop).with_context(|| format!("the chart can't be installed as {release}"))
    }

    /// Removes a release, if it is there.
    pub(crate) fn uninstall(&self, namespace: &str, release: &str) -> Result<()> {
        let args = ["uninstall", "--ignore-not-found", "--wait", "--namespace", namespace, release];
        self.helm(&args).map(drop)
    }

    fn program(&self, name: &str) -> Command {
        match &self.programs {
            Some(folder) => Command::new(folder.join(name)),
            None => Command::new(name),
        }
    }

    fn helm(&self, args: &[&str]) -> Result<String> {
        command::run(self.program("helm").args(args), b"")?.success()
    }

    /// A kubectl command in a namespace.
    pub fn kubectl(&self, namespace: &str, args: &[&str]) -> Command {
        let mut command = self.program("kubectl");
        command.args(["--namespace", namespace]).args(args);
        command
    }
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name)
        .with_context(|| format!("{name} is not set: run `eval \"$(tests/cluster/up)\"`, see its README"))
}

/// The chart's values for an image that a variable names.
fn image(name: &str, value: &str) -> Option<String> {
    let image = std::env::var(name).ok()?;
    // A colon before the last slash is a port's.
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image.as_str(), "latest"),
    };
    Some(format!("{value}.repository={repository},{value}.tag={tag}"))
}
