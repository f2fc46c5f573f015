//! The S3 server as pods see it in a bad hour: a process before it that does to requests what it is told.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::chaos::node::Node;
use crate::cluster::Cluster;
use crate::command;

const PORT: u16 = 7071;
const NAMESPACE: &str = "storage";

/// The process, on the node, behind a Service of its own.
#[derive(Debug)]
pub struct FaultyStore {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl FaultyStore {
    /// Starts `program`, and makes the Service.
    pub fn start(cluster: &Cluster, node: &Node, program: &str) -> Result<Self> {
        let slice = cluster
            .kubectl(NAMESPACE, &["get", "endpointslice", "s3", "-o=jsonpath={.endpoints[0].addresses[0]}"]);
        let ip = command::run(&mut { slice }, b"")?.success()?;
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "faulty-s3"},
             "spec": {"ports": [{"name": "s3", "port": PORT}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
             "metadata": {"name": "faulty-s3", "labels": {"kubernetes.io/service-name": "faulty-s3"}},
             "addressType": "IPv4", "ports": [{"name": "s3", "port": PORT}],
             "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}]},
        ]});
        let mut apply = cluster.kubectl(NAMESPACE, &["apply", "-f", "-"]);
        command::run(&mut apply, objects.to_string().as_bytes())?.success()?;
        let mut process = node
            .command(&[program, &format!("{ip}:{PORT}"), &format!("{ip}:7070")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't run {program}"))?;
        let stdin = process.stdin.take().context("no pipe")?;
        let mut stdout = BufReader::new(process.stdout.take().context("no pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        if !line.starts_with("listening") {
            bail!("{program} does not listen");
        }
        Ok(Self { process, pipes: Mutex::new((stdin, stdout)) })
    }

    /// How pods reach it, with the keys in a Secret.
    pub fn storage(&self, secret: &str) -> Value {
        json!({"s3": {"endpoint": format!("http://faulty-s3.{NAMESPACE}.svc:{PORT}"), "secretRef": {"name": secret}}})
    }

    /// From now on this happens to requests; how many the fault before it has met.
    pub fn set(&self, fault: &str) -> Result<u64> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(pipes.0, "{fault}")?;
        let mut line = String::new();
        pipes.1.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("{line:?} is not a number of requests"))
    }
}

impl Drop for FaultyStore {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
