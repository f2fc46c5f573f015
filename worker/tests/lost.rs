//! `maxFailedTasks`: the job goes on without map tasks that have failed for good.

use mapreduce_worker::error::{Error, ErrorKind};
use mapreduce_worker::task::finish::Success;
use serde_json::{Value, json};

mod common;

use common::Place;

/// Three objects of a task each; `bad` objects fail at every attempt, with a record or for good.
fn run(
    bad: usize,
    most: impl serde::Serialize,
    body: &str,
    reduce: bool,
    as_pods: bool,
) -> (Place, Result<Success, Error>) {
    let place = Place::new();
    for i in 0..3 {
        let first = if i < bad { "bad" } else { "good" };
        place.write(&format!("in/{i}"), format!("{first}\n{}", "x\n".repeat(20_000)));
    }
    let source =
        format!("function map(key, value, emit, counter) {{ if (value === 'bad') {body}; emit(value, 1); }}");
    let mut fields = json!({
        "input": {"splitSize": "64Ki"},
        "map": {"function": {"script": {"language": "javascript", "source": source}}},
        "maxFailedTasks": most, "retries": 1,
    });
    if reduce {
        fields["reduce"] = json!({"function": {"builtin": {"name": "sum"}}, "tasks": 2});
    }
    if as_pods {
        fields["shuffle"] = json!({"url": "file:shuffle/"});
    }
    let done = place.run(fields);
    (place, done)
}

/// The sums of a result by key, with reducers or without.
fn sums(place: &Place) -> Value {
    let mut sums = std::collections::BTreeMap::new();
    for line in place.output_text().lines() {
        let (key, n) = line.split_once('\t').unwrap();
        *sums.entry(key.to_owned()).or_insert(0) += n.parse::<u64>().unwrap();
    }
    json!(sums)
}

#[test]
fn a_job_goes_on_without_tasks_that_fail_at_every_attempt() {
    for (reduce, as_pods) in [(true, false), (true, true), (false, false), (false, true)] {
        let (place, done) = run(1, 1, "throw new Error('no')", reduce, as_pods);
        let done = done.unwrap();
        assert_eq!(sums(&place), json!({"good": 2, "x": 40_000}), "nothing of the task that failed is there");
        assert_eq!(done.counters.failed_tasks, 2, "its two attempts");
        assert_eq!(done.counters.map_input_records, 40_002);
        assert!(place.names("scratch").is_empty() && place.names("shuffle").is_empty());
    }
}

#[test]
fn what_no_attempt_can_mend_is_not_tried_again() {
    for as_pods in [false, true] {
        let (place, done) = run(2, 2, "emit(undefined)", true, as_pods);
        assert_eq!(done.unwrap().counters.failed_tasks, 2, "one attempt of each");
        assert_eq!(sums(&place), json!({"good": 1, "x": 20_000}));
    }
}

#[test]
fn one_more_fails_the_job_and_says_why() {
    for (reduce, as_pods) in [(true, false), (true, true), (false, false), (false, true)] {
        let (place, done) = run(2, 1, "throw new Error('no way')", reduce, as_pods);
        let error = done.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent);
        assert_eq!(error.to_string(), "2 map tasks or more have failed, and spec.maxFailedTasks is 1");
        let causes = error.causes().join("\n");
        assert!(causes.contains("map-00000: ") && causes.contains("map-00001: "), "{causes}");
        assert!(causes.contains("Error: no way\n    at map"), "{causes}");
        assert!(place.names("out").is_empty() && place.names("shuffle").is_empty(), "something is left");
    }
}

#[test]
fn a_percentage_is_one_of_the_map_tasks_of_the_step_rounded_down() {
    for (reduce, as_pods) in [(true, false), (true, true), (false, false), (false, true)] {
        let (place, done) = run(1, "34%", "throw new Error('no')", reduce, as_pods);
        assert_eq!(done.unwrap().counters.failed_tasks, 2, "one of three tasks, at both attempts");
        assert_eq!(sums(&place), json!({"good": 2, "x": 40_000}));
        let (place, done) = run(1, "33%", "throw new Error('no')", reduce, as_pods);
        let error = done.unwrap_err();
        assert_eq!(error.to_string(), "1 map task or more have failed, and spec.maxFailedTasks is 33% of 3");
        assert!(error.causes().join("\n").contains("map-00000: "), "{:?}", error.causes());
        assert!(place.names("out").is_empty() && place.names("shuffle").is_empty(), "something is left");
    }
}

/// How a job ends that may lose this share of its tasks and has a bad record in one of these objects: the sums, or why it
/// has failed.
fn ended(
    objects: &[Vec<u8>],
    input: &Value,
    most: &str,
    threads: usize,
    as_pods: bool,
) -> Result<Value, String> {
    let place = Place::of(objects, 64 << 20, threads);
    let source =
        "function map(key, value, emit) { if (value === 'bad') throw new Error('no'); emit(value, 1); }";
    let mut fields = json!({
        "input": input,
        "map": {"function": {"script": {"language": "javascript", "source": source}}},
        "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 2},
        "maxFailedTasks": most, "retries": 0,
    });
    if as_pods {
        fields["shuffle"] = json!({"url": "file:shuffle/"});
    }
    place.run(fields).map(|_| sums(&place)).map_err(|error| error.to_string())
}

#[test]
fn what_a_percentage_is_of_and_what_is_lost_with_a_record_does_not_depend_on_where_a_job_runs() {
    let large = format!("bad\n{}", "x\n".repeat(2_000_000)).into_bytes();
    let first = |i: usize| if i == 7 { "bad".to_owned() } else { i.to_string() };
    let small = |i: usize| format!("{}\n{}", first(i), "x\n".repeat(20_000)).into_bytes();
    let small: Vec<_> = (0..40).map(small).collect();
    for (objects, input, most, succeeds) in [
        (&[large][..], json!({}), "50%", false),
        // Tasks of small splits are one of a pod.
        (&small[..], json!({"splitSize": "64Ki"}), "5%", true),
    ] {
        let in_pods = ended(objects, &input, most, 1, true);
        assert_eq!(in_pods.is_ok(), succeeds, "{in_pods:?}");
        for threads in [1, 16] {
            assert_eq!(ended(objects, &input, most, threads, false), in_pods, "{threads} threads");
        }
    }
}

#[test]
fn without_it_the_first_fails_the_job_with_its_own_error() {
    let (_, done) = run(1, 0, "throw new Error('no')", true, false);
    assert_eq!(done.unwrap_err().to_string(), "the map script failed: Error: no");
}
