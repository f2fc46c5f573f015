//! A test's own namespace and its own prefix in the bucket.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, RELEASE};
use crate::command::{self, Ended};
use crate::manifest::MrJob;
use crate::wait;

/// What a small job takes on a busy machine with two processors, and then some.
pub const LIMIT: Duration = Duration::from_mins(3);
/// How many there were: with the time it makes names, so that two runs on one cluster don't meet.
static SCENARIOS: AtomicU32 = AtomicU32::new(0);
/// The Secret with the bucket's keys.
const SECRET: &str = "s3-keys";

/// A namespace and a prefix.
#[derive(Debug)]
pub struct Scenario {
    /// The cluster that the namespace is in.
    pub cluster: &'static Cluster,
    /// Its name, and the prefix's.
    pub namespace: String,
}

/// Runs a test beside others.
pub fn scenario(name: &str, body: impl FnOnce(&Scenario) -> Result<()>) -> Result<()> {
    let _turn = Cluster::share();
    Scenario::run(name, body)
}

/// Runs a test while no other runs.
pub fn scenario_alone(name: &str, body: impl FnOnce(&Scenario) -> Result<()>) -> Result<()> {
    let _turn = Cluster::alone();
    Scenario::run(name, body)
}

impl Scenario {
    /// Runs something in one more namespace, within a test that has its turn.
    pub fn run(name: &str, body: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let scenario = Self::new(name)?;
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&scenario)));
        if !matches!(outcome, Ok(Ok(()))) {
            scenario.explain();
        }
        scenario.end();
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn new(name: &str) -> Result<Self> {
        let cluster = Cluster::get()?;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 1_000_000;
        let number = SCENARIOS.fetch_add(1, Ordering::Relaxed);
        let scenario = Self { cluster, namespace: format!("e2e-{name}-{time}-{number}") };
        scenario.kubectl(&["create", "namespace", &scenario.namespace])?;
        let bucket = &cluster.bucket;
        scenario.secret(SECRET, &bucket.access_key, &bucket.secret_key)?;
        Ok(scenario)
    }

    /// Makes a Secret with keys for S3.
    pub fn secret(&self, name: &str, access_key: &str, secret_key: &str) -> Result<()> {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        }))
    }

    /// A key below the test's prefix.
    pub fn key(&self, path: &str) -> String {
        format!("{}/{path}", self.namespace)
    }

    /// Its URL.
    pub fn url(&self, path: &str) -> String {
        format!("s3://{}/{}", self.cluster.bucket.name, self.key(path))
    }

    /// How pods reach the bucket, with the keys in a Secret.
    pub fn storage(&self, secret: &str) -> Value {
        json!({"s3": {"endpoint": self.cluster.s3_endpoint, "secretRef": {"name": secret}}})
    }

    /// A job that reads one path below the test's prefix and writes below another.
    pub fn job(&self, name: &str, input: &str, output: &str) -> MrJob {
        MrJob::new(name, &self.url(input), &self.url(output), &self.storage(SECRET))
    }

    /// Writes an object below the test's prefix.
    pub fn put(&self, path: &str, bytes: impl Into<bytes::Bytes>) -> Result<()> {
        self.cluster.bucket.put(&self.key(path), bytes)
    }

    /// Runs kubectl in the test's namespace.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<Ended> {
        command::run(&mut self.cluster.kubectl(&self.namespace, args), b"")
    }

    /// The same, where it has to succeed; what it wrote.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.try_kubectl(args)?.success()
    }

    /// Applies a manifest as `kubectl apply -f` does.
    pub fn apply(&self, manifest: &Value) -> Result<()> {
        self.try_apply(manifest)?.success().map(drop)
    }

    /// The same, where it may be refused.
    pub fn try_apply(&self, manifest: &Value) -> Result<Ended> {
        let mut apply = self.cluster.kubectl(&self.namespace, &["apply", "-f", "-"]);
        command::run(&mut apply, manifest.to_string().as_bytes())
    }

    /// Applies a job.
    pub fn submit(&self, job: MrJob) -> Result<MrJob> {
        self.apply(&job.manifest)?;
        Ok(job)
    }

    /// Objects as JSON; `null` when there is none of that name.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name, "--ignore-not-found", "--output=json"])?;
        if text.trim().is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// All objects of a kind that belong to a job.
    pub fn owned(&self, kind: &str, job: &MrJob) -> Result<Vec<Value>> {
        let label = format!("mapreduce.dev/job={}", job.name);
        let text = self.kubectl(&["get", kind, "--selector", &label, "--output=json"])?;
        let mut list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// The job as the API server has it.
    pub fn read(&self, job: &MrJob) -> Result<Value> {
        self.get("mrj", &job.name)
    }

    /// Merges into the job's spec.
    pub fn patch(&self, job: &MrJob, spec: &Value) -> Result<()> {
        let patch = json!({"spec": spec}).to_string();
        self.kubectl(&["patch", "mrj", &job.name, "--type=merge", "--patch", &patch]).map(drop)
    }

    /// Waits until the job has ended, either way, and gives its status.
    pub fn ended(&self, job: &MrJob) -> Result<Value> {
        wait::until(&format!("the end of {}", job.name), LIMIT, || {
            let mut read = self.read(job)?;
            let phase = read["status"]["phase"].as_str().unwrap_or_default();
            Ok(matches!(phase, "Succeeded" | "Failed").then(|| read["status"].take()))
        })
    }

    /// Waits until the job has succeeded, and gives its status.
    pub fn succeeded(&self, job: &MrJob) -> Result<Value> {
        let status = self.ended(job)?;
        ensure!(status["phase"] == "Succeeded", "{} failed: {:#}", job.name, status["conditions"]);
        Ok(status)
    }

    /// Waits until the job has failed; the reason and message of its condition.
    pub fn failed(&self, job: &MrJob) -> Result<(String, String)> {
        let status = self.ended(job)?;
        let Some(failed) = condition(&status, "Failed") else {
            bail!("{} did not fail: {:#}", job.name, status["conditions"]);
        };
        ensure!(failed["status"] == "True" && status["phase"] == "Failed", "{status:#}");
        let text = |field: &str| failed[field].as_str().unwrap_or_default().to_owned();
        Ok((text("reason"), text("message")))
    }

    /// Waits until the job is in this phase.
    pub fn in_phase(&self, job: &MrJob, phase: &str) -> Result<()> {
        wait::until_true(&format!("{} in phase {phase}", job.name), LIMIT, || {
            let read = self.read(job)?;
            let now = read["status"]["phase"].as_str().unwrap_or_default();
            ensure!(now == phase || !matches!(now, "Succeeded" | "Failed"), "{} is {now} already", job.name);
            Ok(now == phase)
        })
    }

    /// Waits until nothing holds the job any more: its intermediate data is removed.
    pub fn let_go(&self, job: &MrJob) -> Result<()> {
        wait::until_true(&format!("{} without a finalizer", job.name), LIMIT, || {
            let read = self.read(job)?;
            Ok(read["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty))
        })
    }

    /// Names of what is below an output, seen from there.
    pub fn output(&self, path: &str) -> Result<Vec<String>> {
        let prefix = self.key(path);
        let keys = self.cluster.bucket.list(&prefix)?;
        Ok(keys.into_iter().map(|key| key[prefix.len()..].to_owned()).collect())
    }

    /// An error when below a path there is anything, or an upload that was never ended.
    pub fn nothing_below(&self, path: &str) -> Result<()> {
        let objects = self.output(path)?;
        ensure!(objects.is_empty(), "there are objects below {path}: {objects:?}");
        self.no_uploads()
    }

    /// An error when there is an upload that was never ended.
    pub fn no_uploads(&self) -> Result<()> {
        let uploads = self.cluster.bucket.uploads(&self.key(""))?;
        ensure!(uploads.is_empty(), "there are unfinished uploads: {uploads:?}");
        Ok(())
    }

    /// An error unless an output is parts `0 .. parts`, `_SUCCESS`, and nothing else.
    pub fn only_parts(&self, path: &str, parts: usize) -> Result<()> {
        let mut want = vec!["_SUCCESS".to_owned()];
        want.extend((0..parts).map(|i| format!("part-{i:05}")));
        let have = self.output(path)?;
        ensure!(have == want, "below {path} there is {have:?}, and should be {want:?}");
        self.no_uploads()
    }

    /// `_SUCCESS` of an output.
    pub fn success(&self, path: &str) -> Result<Value> {
        let bytes = self.cluster.bucket.get(&self.key(&format!("{path}_SUCCESS")))?;
        serde_json::from_slice(&bytes).context("_SUCCESS is not JSON")
    }

    /// The parts of an output, one after the other.
    pub fn parts(&self, path: &str) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for name in self.output(path)?.iter().filter(|name| name.starts_with("part-")) {
            all.extend_from_slice(&self.cluster.bucket.get(&self.key(&format!("{path}{name}")))?);
        }
        Ok(all)
    }

    /// What the cluster knows, for whoever reads why a test failed.
    fn explain(&self) {
        println!("---- {}", self.namespace);
        for args in [
            &["describe", "mrj"][..],
            &["get", "jobs,pods", "--output=wide"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "--selector=app.kubernetes.io/managed-by=mapreduce-operator", "--tail=5", "--prefix"],
        ] {
            println!("$ kubectl {}", args.join(" "));
            match self.try_kubectl(args) {
                Ok(ended) => println!("{}{}", ended.stdout, ended.stderr),
                Err(error) => println!("{error:#}"),
            }
        }
        let log = ["logs", "--selector=app.kubernetes.io/name=mapreduce-operator", "--tail=60"];
        let log = command::run(&mut self.cluster.kubectl(RELEASE, &log), b"");
        println!("$ the operator's log\n{}", log.map(|l| l.stdout + &l.stderr).unwrap_or_default());
        println!("$ the bucket\n{:?}", self.output("").unwrap_or_default());
    }

    /// Nobody waits for it, and what goes wrong says nothing about the test.
    fn end(&self) {
        let _ = self.try_kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        let _ = self.cluster.bucket.remove(&self.key(""));
    }
}

/// A condition of a status.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}
