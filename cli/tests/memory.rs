//! `--memory` bounds what a run takes, whatever the data.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A job over `in/` with this reduce function, and so many parts.
fn job(reduce: &str, tasks: u32) -> String {
    format!(
        r#"
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {{name: hot}}
spec:
  input: {{urls: ["file:in/"], format: {{type: KeyValue}}}}
  reduce: {{function: {{builtin: {reduce}}}, tasks: {tasks}}}
  output: {{url: "file:out/"}}
"#
    )
}

/// The most memory that a process has had so far.
#[cfg(target_os = "linux")]
fn peak(process: u32) -> Option<usize> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? << 10)
}

/// Runs a job with `--memory 64Mi` and more options; the most memory that it has had, and the bytes of its parts.
#[cfg(target_os = "linux")]
fn run(folder: &std::path::Path, reduce: &str, tasks: u32, options: &[&str]) -> (usize, u64) {
    std::fs::write(folder.join("job.yaml"), job(reduce, tasks)).unwrap();
    let _ = std::fs::remove_dir_all(folder.join("out"));
    let mut run = Command::new(env!("CARGO_BIN_EXE_mapreduce"))
        .args(["run", "job.yaml", "--quiet", "--memory", "64Mi"])
        .args(options)
        .current_dir(folder)
        .env("TMPDIR", folder)
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
    assert!(ended.success(), "{reduce}");
    let part = |number| std::fs::metadata(folder.join(format!("out/part-{number:05}"))).unwrap().len();
    (most, (0..tasks).map(part).sum())
}

/// The budget, and 15 % of it; a program that was built for tests has more code.
const MOST: usize = 64 * MIB / 100 * 115 + if cfg!(debug_assertions) { 24 * MIB } else { 0 };

#[cfg(target_os = "linux")]
#[test]
fn the_values_of_a_key_that_are_more_than_memory_stream_through_every_function() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let mut input = std::io::BufWriter::new(std::fs::File::create(dir.path().join("in/a")).unwrap());
    let filling = "x".repeat(2_000);
    let values = 100 * MIB / filling.len();
    (0..values).for_each(|i| writeln!(input, "hot\tR\t{i:08}{filling}").unwrap());
    writeln!(input, "hot\tL\tone").unwrap();
    input.flush().unwrap();
    drop(input);
    let all = values * ("R\t00000000".len() + filling.len());
    for (reduce, expected) in [
        ("{name: identity}", all + values * "hot\t\n".len() + "hot\tL\tone\n".len()),
        ("{name: collect}", all + values + "hot\tL\tone\n".len()),
        ("{name: distinct}", format!("hot\t{}\n", values + 1).len()),
        ("{name: histogram}", format!("hot\t{}\t1\t1\t1\t1\t0\n", values + 1).len()),
        ("{name: join}", all + values * "hot\tone\n".len() - values),
    ] {
        let (most, written) = run(dir.path(), reduce, 2, &["--threads", "16"]);
        assert_eq!(written as usize, expected, "{reduce}");
        assert!(most > MIB && most < MOST, "{reduce}: {} MiB for 100 MiB of one key", most / MIB);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn few_large_records_are_in_memory_at_once_however_many_threads_there_are() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let mut all = 0;
    for i in 0..8 {
        let record = format!("{i}\t{}\n", "x".repeat(20_000_000));
        all += record.len();
        std::fs::write(dir.path().join(format!("in/{i}")), record).unwrap();
    }
    let (most, written) = run(dir.path(), "{name: identity}", 2, &["--threads", "16"]);
    assert_eq!(written as usize, all);
    assert!(most > MIB && most < MOST, "{} MiB for records of 20 MB", most / MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_known_of_ten_thousand_partitions_takes_less_than_what_is_in_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let text: Vec<String> = (0..2_000_000u64).map(|i| format!("{}\t{i}\n", i * 7_919 % 1_000_003)).collect();
    let text = text.concat();
    std::fs::write(dir.path().join("in/a"), &text).unwrap();
    let (most, written) = run(dir.path(), "{name: identity}", 10_000, &["--threads", "16"]);
    assert_eq!(written as usize, text.len());
    assert!(most > MIB && most < MOST, "{} MiB for ten thousand partitions", most / MIB);
}
