//! Large and uneven shuffles: the answer stays right, and memory stays bounded.

mod common;

use common::{Place, builtin};
use mapreduce_api::ids::AttemptId;
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::job::pod;
use mapreduce_worker::plan::{self, Sampling};
use serde_json::{Value, json};

/// Pairs pass through as they are, the way of pods.
fn identity(tasks: Value) -> Value {
    let mut reduce = builtin("identity");
    reduce["tasks"] = tasks;
    json!({
        "input": {"format": {"type": "KeyValue"}},
        "map": {"parallelism": 2},
        "reduce": reduce,
        "shuffle": {"url": "file:shuffle/"},
    })
}

fn line(key: &str, i: usize, bytes: usize) -> String {
    format!("{key}\t{i:08}{}\n", "x".repeat(bytes))
}

#[test]
fn a_map_task_may_have_more_for_a_reducer_than_one_request_fetches() {
    let place = Place::new();
    let text: String = (0..900).map(|i| line(&format!("{:04}", i * 7 % 900), i, 60_000)).collect();
    place.write("in/a", &text);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let done = place.run(identity(json!(1))).unwrap();
    assert!(done.counters.shuffle_bytes > 32 << 20);
    assert!(place.output_text().lines().eq(lines));
}

#[test]
fn a_single_hot_key_streams_through_a_reducer_that_could_not_hold_it() {
    let mut place = Place::new();
    place.resources.memory = 4 << 20;
    let text: String = (0..2000).map(|i| line("hot", i, 10_000)).collect();
    place.write("in/a", &text);
    for fields in [
        identity(json!(2)),
        json!({"input": {"format": {"type": "KeyValue"}}, "reduce": builtin("identity")}),
    ] {
        std::fs::remove_dir_all(place.path("out")).ok();
        let done = place.run(fields).unwrap();
        assert_eq!(done.counters.reduce_input_groups, 1);
        assert!(place.output_text() == text, "values stay in their order");
    }
}

#[test]
fn large_and_small_partitions_share_the_reduce_tasks() {
    let place = Place::new();
    // Without a number of tasks the plan makes more partitions than reduce tasks.
    let text: String = (0..140).map(|i| line(&format!("{:03}", i % 40), i, 1 << 20)).collect();
    place.write("in/a", &text);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let job = place.job(identity(Value::Null)).unwrap();
    let summary = plan::for_pods(job.step(), None, Sampling::Take).unwrap().plan.summary;
    assert_eq!((summary.partitions, summary.reduce_tasks), (4, 1));
    let done = place.run(identity(Value::Null)).unwrap();
    assert_eq!((done.outputs.len(), place.names("out").len()), (4, 5), "four parts and _SUCCESS");
    let output = place.output_text();
    let mut found: Vec<&str> = output.lines().collect();
    found.sort_unstable();
    assert!(found == lines);
}

#[test]
fn the_partitions_of_a_pod_are_reduced_at_once() {
    let mut place = Place::new();
    place.resources.threads = 4;
    place.write("in/a", "");
    let zeros = std::fs::File::options().write(true).open(place.path("in/a")).unwrap();
    zeros.set_len(140 << 20).unwrap();
    // Each waits until all have begun.
    let begun = place.path("begun").display().to_string();
    let all_begun = format!("[ $(ls {begun} | wc -l) -eq 4 ]");
    let waits = format!(
        "mkdir -p {begun}/$mapreduce_task_partition; \
         for i in $(seq 1200); do {all_begun} && break; sleep 0.05; done; {all_begun} && cat"
    );
    let fields = json!({
        "input": {"format": {"type": "FixedLength", "fixedLength": {"recordBytes": 1 << 20}}},
        "map": builtin("count"),
        "reduce": {"function": {"command": {"shell": waits}}},
        "retries": 0,
    });
    let job = place.job(fields).unwrap();
    let summary = pod::plan(&job, &place.resources).unwrap().summary;
    assert_eq!((summary.partitions, summary.reduce_tasks), (4, 1));
    (0..summary.map_tasks).for_each(|i| {
        assert!(pod::map(&job, i, &AttemptId::new("a"), &place.resources).unwrap().is_none());
    });
    let success = pod::reduce(&job, 0, &AttemptId::new("a"), &place.resources).unwrap().unwrap();
    assert_eq!((success.outputs.len(), success.counters.reduce_output_records), (4, 140));
    assert_eq!(place.names("begun"), ["0", "1", "2", "3"]);
}

#[test]
fn with_many_partitions_there_are_fewer_map_tasks_so_that_what_is_fetched_is_not_too_small() {
    let place = Place::new();
    place.write("in/a", vec![b'x'; 30 << 20]);
    let tasks = |partitions: u32| {
        let mut fields = identity(json!(partitions));
        fields["input"]["splitSize"] = json!(256 << 10);
        fields["map"]["parallelism"] = json!(100);
        plan::for_pods(place.job(fields).unwrap().step(), None, Sampling::Take)
            .unwrap()
            .plan
            .summary
            .map_tasks
    };
    assert_eq!(tasks(1), 60, "half a MiB of 30 for one partition");
    assert_eq!(tasks(2), 30);
    assert_eq!(tasks(50), 20, "so many there are always");
}

#[test]
fn however_small_splits_are_the_number_of_tasks_is_bounded() {
    let lines: Vec<String> = (0..300_000).map(|i| (i % 1000).to_string()).collect();
    let lines = lines.join("\n") + "\n";
    let place = Place::of(&[lines.into_bytes()], 64 << 20, 2);
    let progress = RunProgress::default();
    let fields =
        |reduce: Value| json!({"input": {"splitSize": 1}, "map": builtin("words"), "reduce": reduce});
    let reduce = |tasks: i32| json!({"function": {"builtin": {"name": "sum"}}, "tasks": tasks});
    // Of each task is kept where each partition is.
    for (partitions, expected) in [(1, 500..=1100), (10_000, 60..=120)] {
        std::fs::remove_dir_all(place.path("out")).ok();
        let job = place.job(fields(reduce(partitions))).unwrap();
        let done = local::run(&job, &place.resources, &progress).unwrap();
        let tasks = progress.map_tasks.load(std::sync::atomic::Ordering::Relaxed);
        assert!(expected.contains(&tasks), "{tasks}");
        assert_eq!(done.counters.map_input_records, 300_000);
        let output = place.output_text();
        assert_eq!(output.lines().count(), 1000);
        assert!(output.lines().all(|line| line.ends_with("\t300")), "{output}");
    }
    let planned =
        plan::for_pods(place.job(fields(json!({"tasks": 0}))).unwrap().step(), None, Sampling::Take).unwrap();
    assert!((5_000..=10_100).contains(&planned.tasks.len()), "{}", planned.tasks.len());
}
