//! `--memory` bounds what a run takes, whatever the data.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A job over `in/` with this reduce function, and so many parts.
fn job(reduce: &str, tasks: u32) -> String {
    formats("KeyValue", &format!("reduce: {{function: {{builtin: {reduce}}}, tasks: {tasks}}}"), "KeyValue")
}

/// A job over `in/` in a format, with these phases, that writes `out/` in another.
fn formats(input: &str, phases: &str, output: &str) -> String {
    format!(
        r#"
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {{name: hot}}
spec:
  input: {{urls: ["file:in/"], format: {{type: {input}}}}}
  {phases}
  output: {{url: "file:out/", format: {{type: {output}}}}}
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
    let most = run_job(folder, &job(reduce, tasks), options);
    let part = |number| std::fs::metadata(folder.join(format!("out/part-{number:05}"))).unwrap().len();
    (most, (0..tasks).map(part).sum())
}

/// The parts of a job's result, one after the other.
fn parts(folder: &std::path::Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder.join("out")).unwrap().map(|file| file.unwrap().path());
    let mut parts: Vec<_> =
        files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("part-")).collect();
    parts.sort();
    parts.iter().flat_map(|part| std::fs::read(part).unwrap()).collect()
}

/// Runs a job with `--memory 64Mi` and more options; the most memory that it has had.
#[cfg(target_os = "linux")]
fn run_job(folder: &std::path::Path, job: &str, options: &[&str]) -> usize {
    std::fs::write(folder.join("job.yaml"), job).unwrap();
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
    assert!(ended.success(), "{job}");
    most
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
fn the_joined_values_of_a_key_are_written_in_every_format_of_text_and_to_the_next_step_without_being_in_memory()
 {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let values: Vec<String> = (0..50_000).map(|i| format!("\"{i:05}\"{}", "x".repeat(1_000))).collect();
    let lines: Vec<String> = values.iter().map(|value| format!("hot\t{value}\n")).collect();
    std::fs::write(dir.path().join("in/a"), lines.concat()).unwrap();
    let joined = values.join(",");
    let collect = "reduce: {function: {builtin: {name: collect}}, tasks: 1}";
    let steps = "steps: [{name: one, reduce: {function: {builtin: {name: collect}}, tasks: 1}}, \
                         {name: two, reduce: {function: {builtin: {name: identity}}, tasks: 1}}]";
    for (phases, output, expected) in [
        (collect, "Csv", format!("key,value\nhot,\"{}\"\n", joined.replace('"', "\"\""))),
        (
            collect,
            "JsonLines",
            format!("{{\"key\":\"hot\",\"value\":\"{}\"}}\n", joined.replace('"', "\\\"")),
        ),
        (steps, "Lines", format!("{joined}\n")),
    ] {
        let most = run_job(dir.path(), &formats("KeyValue", phases, output), &["--threads", "16"]);
        assert!(parts(dir.path()) == expected.into_bytes(), "{output}");
        // What the next step reads of it is a record, which is in memory once.
        let record = if phases == steps { joined.len() } else { 0 };
        assert!(most > MIB && most < MOST + record, "{output}: {} MiB for 50 MiB of one value", most / MIB);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_row_group_is_written_and_read_without_being_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let row = |i: u64| {
        let noise = |n: u64| (i * 4 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{i:07}\t{:016x}{:016x}{:016x}{:016x}\n", noise(0), noise(1), noise(2), noise(3))
    };
    let text: String = (0..900_000).map(row).collect();
    std::fs::write(dir.path().join("in/a"), &text).unwrap();
    let identity = "reduce: {function: {builtin: {name: identity}}, tasks: 4}";
    let most = run_job(dir.path(), &formats("KeyValue", identity, "Parquet"), &["--threads", "16"]);
    assert!(most > MIB && most < MOST, "written: {} MiB", most / MIB);
    std::fs::remove_dir_all(dir.path().join("in")).unwrap();
    std::fs::rename(dir.path().join("out"), dir.path().join("in")).unwrap();
    let columns = "map: {function: {builtin: {name: json, args: {key: key, value: value}}}}\n  \
                   reduce: {function: {builtin: {name: identity}}, tasks: 1}";
    let most = run_job(dir.path(), &formats("Parquet", columns, "KeyValue"), &["--threads", "16"]);
    assert!(parts(dir.path()) == text.into_bytes());
    assert!(most > MIB && most < MOST, "read: {} MiB", most / MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn few_large_rows_and_files_and_bad_records_are_in_memory_at_once() {
    let text = "x".repeat(20_000_000);
    let identity = "reduce: {function: {builtin: {name: identity}}, tasks: 2}";
    let skip = "skipBadRecords: {max: 8}\n  reduce: {function: {builtin: {name: identity}}, tasks: 2}";
    for (input, before, after, phases, written) in [
        ("Csv, csv: {header: false}", "", "", identity, 8 * ("0{\"1\":\"\"}".len() + 1 + text.len())),
        ("WholeFile", "", "", identity, 0),
        ("JsonLines", "{\"n\":\"", "\"}\n", identity, 8 * ("0{\"n\":\"\"}".len() + 1 + text.len())),
        ("JsonLines", "{", "\n", skip, 0),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        for i in 0..8 {
            std::fs::write(dir.path().join(format!("in/{i}")), format!("{before}{i}{text}{after}")).unwrap();
        }
        let most = run_job(dir.path(), &formats(input, phases, "FixedLength"), &["--threads", "16"]);
        let parts = parts(dir.path()).len();
        assert!(
            if written > 0 { parts == written } else { parts > 8 * text.len() || phases == skip },
            "{input}: {parts}"
        );
        assert!(most > MIB && most < MOST, "{input}: {} MiB for records of 20 MB", most / MIB);
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

#[test]
fn a_window_of_zstd_that_there_is_no_memory_for_is_an_error_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    for (log, has_memory) in [(23, true), (27, false)] {
        let file = std::fs::File::create(dir.path().join("in/a.zst")).unwrap();
        let mut encoder = zstd::stream::write::Encoder::new(file, 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(b"a\t1\n").unwrap();
        encoder.finish().unwrap();
        std::fs::write(dir.path().join("job.yaml"), job("{name: sum}", 1)).unwrap();
        let run = Command::new(env!("CARGO_BIN_EXE_mapreduce"))
            .args(["run", "job.yaml", "--quiet", "--memory", "64Mi"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let _ = std::fs::remove_dir_all(dir.path().join("out"));
        let errors = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.success(), has_memory, "{errors}");
        assert!(
            has_memory || errors.contains("a window of 128 MiB, and there is memory for one of 15 MiB"),
            "{errors}"
        );
        assert!(has_memory || errors.contains("give the job more memory"), "{errors}");
    }
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

#[cfg(target_os = "linux")]
#[test]
fn of_many_small_tasks_and_many_partitions_little_is_kept_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let line = |i: usize| format!("{}\t{i}\n", i * 7_919 % 1_000_003);
    let text: String = (0..20_000).map(line).collect();
    std::fs::write(dir.path().join("in/a"), &text).unwrap();
    let job = job("{name: identity}", 10_000).replace("input: {", "input: {splitSize: 1, ");
    let most = run_job(dir.path(), &job, &[]);
    assert_eq!(parts(dir.path()).len(), text.len());
    assert!(most > MIB && most < MOST, "{} MiB for splits of a byte", most / MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn large_values_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let large = "k".repeat(6_000_000);
    let line = |i: usize| format!("{}\t{i:02}{large}{large}{large}\n", i % 6);
    std::fs::write(dir.path().join("in/a"), (0..12).map(line).collect::<String>()).unwrap();
    let (most, written) = run(dir.path(), "{name: first}", 2, &[]);
    assert_eq!(written as usize, 6 * (3 * large.len() + "0\t00\n".len()));
    assert!(most > MIB && most < MOST, "{} MiB for values of 18 MB", most / MIB);

    let line = |i: usize| format!("k\t{}\t{i}{large}\n", ["L", "R"][i % 2]);
    std::fs::write(dir.path().join("in/a"), (0..6).map(line).collect::<String>()).unwrap();
    let (most, written) = run(dir.path(), "{name: join}", 1, &[]);
    assert_eq!(written as usize, 9 * ("k\t0\t0\n".len() + 2 * large.len()));
    assert!(most > MIB && most < MOST, "{} MiB for a join of values of 6 MB", most / MIB);
}

#[cfg(target_os = "linux")]
#[test]
fn large_keys_are_in_memory_when_it_is_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    let large = "k".repeat(8_000_000);
    let line = |i: usize| format!("{}{large}\t{}\n", i / 3, i % 2);
    std::fs::write(dir.path().join("in/a"), (0..9).map(line).collect::<String>()).unwrap();
    let reduce =
        |name: &str, more: &str| format!("{more}reduce: {{function: {{builtin: {{name: {name}}}}}, tasks: 2");
    let combine = |name: &str| format!("combine: {{function: {{builtin: {{name: {name}}}}}}}\n  ");
    let all = |value: &str, pairs: usize| pairs * (large.len() + "0\t\n".len() + value.len());
    for (phases, output, more, expected) in [
        (reduce("count", ""), "KeyValue", "", all("3", 3)),
        (reduce("identity", ""), "KeyValue", "", all("1", 9)),
        (reduce("identity", ""), "Csv", "", all("1", 9) + 2 * "key,value\n".len()),
        (reduce("identity", ""), "JsonLines", "", all("1", 9) + 9 * r#"{"key":"","value":"#.len()),
        (reduce("distinct", ""), "KeyValue", "", all("2", 3)),
        (reduce("stats", ""), "Lines", "", 0),
        (reduce("collect", ""), "KeyValue", "", all("0,0,1", 3)),
        (reduce("sum", &combine("sum")), "KeyValue", "", all("1", 3)),
        (reduce("max", &combine("max")), "KeyValue", "", all("1", 3)),
        (reduce("identity", ""), "KeyValue", ", partitioner: {type: Range}", all("1", 9)),
        (reduce("identity", ""), "KeyValue", ", sort: {order: Descending}", all("1", 9)),
    ] {
        let phases = format!("{phases}{more}}}");
        for store in ["", "\n  shuffle: {url: \"file:shuffle/\"}"] {
            let job = formats("KeyValue", &format!("{phases}{store}"), output);
            let most = run_job(dir.path(), &job, &["--threads", "16"]);
            let written = parts(dir.path()).len();
            assert!(written == expected || expected == 0, "{phases}, {output}: {written}");
            assert!(
                most > MIB && most < MOST,
                "{phases}{store}, {output}: {} MiB for keys of 8 MB",
                most / MIB
            );
        }
    }
}

#[test]
fn a_text_that_there_is_no_memory_for_in_parquet_is_an_error_that_says_how_much_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("in")).unwrap();
    std::fs::write(dir.path().join("in/a"), format!("k\t{}\n", "x".repeat(3 * MIB)).repeat(2)).unwrap();
    let reduce = |name: &str| format!("reduce: {{function: {{builtin: {{name: {name}}}}}, tasks: 1}}");
    for (function, has_memory) in [("identity", true), ("collect", false)] {
        std::fs::write(dir.path().join("job.yaml"), formats("KeyValue", &reduce(function), "Parquet"))
            .unwrap();
        let _ = std::fs::remove_dir_all(dir.path().join("out"));
        let run = Command::new(env!("CARGO_BIN_EXE_mapreduce"))
            .args(["run", "job.yaml", "--quiet", "--memory", "64Mi"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        let errors = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.success(), has_memory, "{errors}");
        let said = [
            "a text of 7 MiB is to be written as Parquet, and there is memory for one of 5 MiB",
            "--memory 80Mi",
        ];
        assert!(has_memory || said.iter().all(|said| errors.contains(said)), "{errors}");
    }
}
