//! A run that a signal, a deadline or a kill ends at a moment that the server chooses: at a request.
//!
//! ```text
//!  mapreduce run ── requests ──> bucket on loopback ── "this one": kill -TERM ──> mapreduce run
//! ```

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use server::{Fault, Request, S3};

mod killed;
mod outages;
mod rivals;
#[path = "../../../worker/tests/s3/server.rs"]
mod server;
mod signals;

const TEXTS: [&str; 3] = ["to be or not to be\n", "that is the question\n", "be\n"];
const COUNTS: &str = "be\t3\nis\t1\nnot\t1\nor\t1\nquestion\t1\nthat\t1\nthe\t1\nto\t2\n";

/// What a run asks a bucket for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    ReadsInput,
    /// Begins an output part, or writes to it.
    StagesPart,
    CompletesPart,
    WritesSuccess,
    Another,
}

impl Moment {
    fn of(request: &Request) -> Self {
        let (key, method) = (request.key(), request.method.as_str());
        let is_part = key.starts_with("out/part-");
        match method {
            "GET" if key.starts_with("in/") => Self::ReadsInput,
            "POST" if is_part && request.asks("uploadId") => Self::CompletesPart,
            "POST" | "PUT" if is_part => Self::StagesPart,
            "POST" if key == "out/_SUCCESS" && request.asks("uploadId") => Self::WritesSuccess,
            _ => Self::Another,
        }
    }
}

/// A folder with a word count of `s3://b/in/` into `s3://b/out/`, and the bucket.
struct Place {
    folder: tempfile::TempDir,
    s3: S3,
}

impl Place {
    fn new(fields: &Value) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), s3: S3::start() };
        TEXTS.iter().enumerate().for_each(|(i, text)| place.s3.put(format!("in/{i}"), text));
        place.manifest("job.yaml", fields);
        place
    }

    /// Writes a manifest with these in the place of some fields of the spec.
    fn manifest(&self, name: &str, fields: &Value) {
        let mut spec = json!({
            "input": {"urls": ["s3://b/in/"]},
            "map": {"function": {"builtin": {"name": "words"}}},
            "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 2},
            "output": {"url": "s3://b/out/"},
            "storage": {"s3": {"endpoint": self.s3.endpoint()}},
        });
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let manifest = json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"name": "count"}, "spec": spec,
        });
        std::fs::write(self.path().join(name), manifest.to_string()).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, manifest: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mapreduce"));
        command.args(["run", manifest, "--json", "--threads", "2"]).current_dir(self.path());
        command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.env("TMPDIR", self.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the job to its end.
    fn run(&self) -> Output {
        self.s3.on(|_| None);
        self.command("job.yaml").output().unwrap()
    }

    /// Runs the job, sends it a signal at the first request that is meant, and does to requests from there on what
    /// `then` says. Gives the request that was meant, if there was one.
    fn run_until(
        &self,
        signal: &'static str,
        is_meant: impl Fn(&Request) -> bool + Send + Sync + 'static,
        then: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static,
    ) -> (Output, Option<Moment>) {
        let (process, sent) = (Arc::new(OnceLock::new()), Arc::new(Mutex::new(None)));
        let (of, seen) = (Arc::clone(&process), Arc::clone(&sent));
        self.s3.on(move |request| {
            let mut seen = seen.lock().unwrap();
            if seen.is_none() && is_meant(request) {
                send(signal, *of.wait());
                *seen = Some(Moment::of(request));
            }
            seen.and_then(|_| then(request))
        });
        let child = self.command("job.yaml").spawn().unwrap();
        process.set(child.id()).unwrap();
        let output = child.wait_with_output().unwrap();
        let sent = *sent.lock().unwrap();
        (output, sent)
    }

    /// What is in the bucket beside the input.
    fn written(&self) -> Vec<String> {
        self.s3.keys().into_iter().filter(|key| !key.starts_with("in/")).collect()
    }

    /// That the right result is there, and nothing else.
    fn assert_right(&self, context: &str) {
        assert_eq!(self.written(), ["out/_SUCCESS", "out/part-00000", "out/part-00001"], "{context}");
        let parts = ["out/part-00000", "out/part-00001"].map(|key| self.s3.get(key).unwrap()).concat();
        assert_counts(&parts, context);
    }
}

fn assert_counts(parts: &[u8], context: &str) {
    let text = String::from_utf8(parts.to_vec()).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, COUNTS.lines().collect::<Vec<_>>(), "{context}");
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(items) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn send(signal: &str, process: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// What a run has said, for a test that fails.
fn said(output: &Output) -> String {
    format!("{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr))
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(output)))
}
