//! `--memory` bounds what a run takes, whatever the data.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

const MIB: usize = 1 << 20;

const JOB: &str = r#"
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {name: hot}
spec:
  input: {urls: ["file:in/"], format: {type: KeyValue}}
  reduce: {function: {builtin: {name: identity}}, tasks: 2}
  output: {url: "file:out/"}
"#;

/// The most memory that a process has had so far.
#[cfg(target_os = "linux")]
fn peak(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? << 10)
}

#[cfg(target_os = "linux")]
#[test]
fn a_hot_key_of_far_more_bytes_than_memory_streams_through() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("job.yaml"), JOB).unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let mut input = std::fs::File::create(dir.path().join("in/a")).unwrap();
    let line = format!("hot\t{}\n", "x".repeat(10_000));
    let lines = 160 * MIB / line.len();
    (0..lines).for_each(|_| input.write_all(line.as_bytes()).unwrap());

    let mut run = Command::new(env!("CARGO_BIN_EXE_mapreduce"))
        .args(["run", "job.yaml", "--quiet", "--memory", "16Mi"])
        .current_dir(dir.path())
        .env("TMPDIR", dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0;
    let ended = loop {
        most = peak(run.id()).unwrap_or(0).max(most);
        if let Some(ended) = run.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(ended.success());
    assert!(most > MIB && most < 80 * MIB, "{} MiB for 160 MiB of one key", most / MIB);
    let written: u64 = ["part-00000", "part-00001"]
        .map(|part| std::fs::metadata(dir.path().join("out").join(part)).unwrap().len())
        .iter()
        .sum();
    assert_eq!(written as usize, lines * line.len());
}
