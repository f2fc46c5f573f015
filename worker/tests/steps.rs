//! Several steps: each reads the pairs of the one before it, in this process and as pods do it.

mod common;

use std::collections::BTreeMap;

use common::{Place, builtin, counted, word_count};
use mapreduce_api::ids::AttemptId;
use mapreduce_worker::job::{Job, pod};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A step by name, with these fields.
fn step(name: &str, mut fields: Value) -> Value {
    fields["name"] = json!(name);
    fields
}

/// How many words occur once, twice and so on.
fn histogram(partitions: u32) -> Value {
    let mut reduce = builtin("count");
    reduce["tasks"] = json!(partitions);
    json!({"map": builtin("fields"), "reduce": reduce})
}

/// The pairs by number, the largest first.
fn sorted(partitions: u32) -> Value {
    let mut reduce = builtin("identity");
    reduce["tasks"] = json!(partitions);
    reduce["partitioner"] = json!({"type": "Range"});
    reduce["sort"] = json!({"order": "Descending", "by": "Numeric"});
    json!({"reduce": reduce})
}

fn three(partitions: u32, combine: bool) -> Value {
    json!({"steps": [
        step("count", word_count(partitions, combine)),
        step("histogram", histogram(partitions)),
        step("sort", sorted(partitions)),
    ]})
}

fn as_pods(mut fields: Value, as_pods: bool) -> Value {
    if as_pods {
        fields["shuffle"] = json!({"url": "file:shuffle/"});
    }
    fields
}

/// What three steps make of texts.
fn expected(texts: &[impl AsRef<[u8]>]) -> String {
    let mut histogram: BTreeMap<u64, u64> = BTreeMap::new();
    counted(texts).values().for_each(|n| *histogram.entry(*n).or_default() += 1);
    let lines: Vec<String> = histogram.iter().rev().map(|(n, words)| format!("{n}\t{words}\n")).collect();
    lines.concat()
}

fn words() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = prop_oneof![4 => "[a-c]{1,3}", 1 => "[a-z]{1,9}"];
    let text = proptest::collection::vec(word, 0..80).prop_map(|words| words.join(" ").into_bytes());
    proptest::collection::vec(text, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn three_steps_are_the_oracles(
        texts in words(),
        split in 1u64..300,
        memory in prop_oneof![Just(2u64 << 10), Just(64 << 20)],
        threads in 1usize..4,
        partitions in 1u32..5,
        combine: bool,
        pods: bool,
    ) {
        let place = Place::of(&texts, memory, threads);
        let mut fields = as_pods(three(partitions, combine), pods);
        fields["input"] = json!({"splitSize": split});
        let done = place.run(fields).unwrap();
        prop_assert_eq!(place.output_text(), expected(&texts));
        prop_assert!(place.names("shuffle").is_empty(), "intermediate data is left");
        prop_assert!(place.names("scratch").is_empty(), "scratch files are left");
        prop_assert_eq!(place.names("out").len() as u32, partitions + 1);
        let names: Vec<_> = done.steps.iter().map(|step| step.name.as_str()).collect();
        prop_assert_eq!(names, ["count", "histogram", "sort"]);
        let counts = counted(&texts);
        let [count, histogram, sort] = [0, 1, 2].map(|i| &done.steps[i].counters);
        prop_assert_eq!(count.map_output_records, counts.values().sum::<u64>());
        prop_assert_eq!(histogram.map_input_records, counts.len() as u64);
        prop_assert_eq!(sort.map_input_records, histogram.reduce_output_records);
        prop_assert_eq!((count.input_objects, histogram.input_objects), (texts.len() as u64, 0));
        prop_assert_eq!((count.output_bytes, sort.output_bytes), (0, place.output().len() as u64));
        let mut sum = count.clone();
        sum.add(histogram);
        sum.add(sort);
        prop_assert_eq!(done.counters, sum);
    }

    #[test]
    fn a_step_alone_is_the_job_without_steps(
        texts in words(),
        split in 1u64..300,
        partitions in 0u32..4,
        combine: bool,
        pods: bool,
    ) {
        let fields = match partitions {
            0 => json!({"map": builtin("words")}),
            n => word_count(n, combine),
        };
        let run = |fields: Value| {
            let place = Place::new();
            for (i, text) in texts.iter().enumerate() {
                place.write(&format!("in/{i}.txt"), text);
            }
            let mut fields = as_pods(fields, pods);
            fields["input"] = json!({"splitSize": split});
            let done = place.run(fields).unwrap();
            let parts: Vec<_> = place.names("out").iter().filter(|n| n.starts_with("part-")).map(|n| place.read(&format!("out/{n}"))).collect();
            (parts, done)
        };
        let (plain_parts, plain) = run(fields.clone());
        let (parts, done) = run(json!({"steps": [step("only", fields)]}));
        prop_assert_eq!(parts, plain_parts);
        prop_assert_eq!(&done.counters, &plain.counters);
        prop_assert_eq!((plain.steps.len(), done.steps.len()), (0, 1));
        prop_assert_eq!(&done.steps[0].counters, &plain.counters);
    }

    #[test]
    fn keys_and_values_pass_as_the_bytes_that_they_are(
        mut records in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\t'), Just(b'\n'), any::<u8>()], 6), 0..60),
        partitions in 1u32..4,
        map_only: bool,
        pods: bool,
    ) {
        let place = Place::new();
        place.write("in/a", records.concat());
        let mut last = builtin("identity");
        last["partitioner"] = json!({"type": "Range"});
        last["valueOrder"] = json!("Sorted");
        last["tasks"] = json!(partitions);
        let first = if map_only { json!({}) } else { json!({"reduce": builtin("identity")}) };
        let fixed = json!({"type": "FixedLength", "fixedLength": {"recordBytes": 6, "keyBytes": 3}});
        let fields = json!({
            "input": {"format": fixed, "splitSize": 24},
            "output": {"format": {"type": "FixedLength"}},
            "steps": [step("first", first), step("second", json!({})), step("last", json!({"reduce": last}))],
        });
        place.run(as_pods(fields, pods)).unwrap();
        records.sort();
        prop_assert_eq!(place.output(), records.concat());
    }
}

#[test]
fn nothing_to_read_in_any_step_has_empty_parts() {
    for pods in [false, true] {
        let none = json!({"function": {"builtin": {"name": "grep", "args": {"pattern": "nowhere"}}}});
        for (text, map) in [("", builtin("words")), ("to be\n", none)] {
            let place = Place::new();
            place.write("in/a", text);
            let mut fields = as_pods(three(2, true), pods);
            fields["steps"][0]["map"] = map;
            let done = place.run(fields).unwrap();
            assert_eq!(place.names("out"), ["_SUCCESS", "part-00000", "part-00001"]);
            assert!(place.output().is_empty() && place.names("shuffle").is_empty());
            assert_eq!((done.counters.reduce_output_records, done.steps.len()), (0, 3));
        }
    }
}

#[test]
fn ranges_of_a_later_step_are_of_about_equal_weight() {
    for pods in [false, true] {
        let place = Place::new();
        // One object of several blocks in the order of its keys: where it begins says nothing of the rest.
        let lines: Vec<String> =
            (0..100_000).map(|i| format!("{:05}\t{}\n", i * 7919 % 100_000, "x".repeat(10))).collect();
        place.write("in/a", lines.concat());
        let mut first = builtin("identity");
        first["tasks"] = json!(1);
        let mut second = builtin("identity");
        second["tasks"] = json!(4);
        second["partitioner"] = json!({"type": "Range"});
        let fields = json!({
            "input": {"format": {"type": "KeyValue"}},
            "steps": [step("sort", json!({"reduce": first})), step("spread", json!({"reduce": second}))],
        });
        let done = place.run(as_pods(fields, pods)).unwrap();
        let parts: Vec<u64> = done.outputs.iter().map(|part| part.records).collect();
        assert_eq!(parts.iter().sum::<u64>(), 100_000);
        assert!(parts.iter().all(|part| (15_000..35_000).contains(part)), "{parts:?}");
    }
}

/// Fails once for each task's input, at its end, then passes lines on.
const FAILS_ONCE: &str = r#"cat; mkdir "$ONCE/$mapreduce_task_id" 2>/dev/null && exit 1; exit 0"#;

#[test]
fn a_command_reads_key_and_value_and_attempts_that_fail_are_tried_again() {
    for pods in [false, true] {
        let place = Place::new();
        place.write("in/a", "to be or not to be\n");
        place.write("once/x", "");
        let once = place.path("once").display().to_string();
        let command =
            json!({"function": {"command": {"shell": FAILS_ONCE, "env": [{"name": "ONCE", "value": once}]}}});
        let second = json!({"map": command, "reduce": builtin("identity")});
        let fields = json!({"steps": [step("count", word_count(3, true)), step("copy", second)]});
        let done = place.run(as_pods(fields, pods)).unwrap();
        assert_eq!(place.output_text(), "be\t2\nnot\t1\nor\t1\nto\t2\n");
        let failed = place.names("once").len() as u64 - 1;
        assert!(failed > 0, "no attempt has failed");
        assert_eq!(done.counters.failed_tasks, failed);
        let by_step: Vec<_> = done.steps.iter().map(|step| step.counters.failed_tasks).collect();
        assert_eq!(by_step, [0, failed]);
        assert_eq!(done.steps[1].counters.map_input_records, 4, "only attempts that are committed count");
    }
}

#[test]
fn an_error_names_the_step_and_nothing_is_left() {
    for pods in [false, true] {
        let place = Place::new();
        place.write("in/a", "one\t1\ntwo\tx\n");
        let fields = json!({
            "input": {"format": {"type": "KeyValue"}},
            "steps": [step("copy", json!({"reduce": builtin("identity")})), step("add", json!({"reduce": builtin("sum")}))],
        });
        let error = place.run(as_pods(fields, pods)).unwrap_err();
        assert!(
            error.to_string().starts_with("step add: `x`, a value of key `two`, is not a number"),
            "{error}"
        );
        assert_eq!(error.report().task.as_deref(), Some("reduce-00000"));
        assert!(place.names("out").is_empty(), "{:?}", place.names("out"));
        assert!(place.names("shuffle").is_empty() && place.names("scratch").is_empty());
    }
}

#[test]
fn what_the_manifest_alone_shows_names_the_step() {
    let place = Place::new();
    let mut fields = three(1, false);
    fields["steps"][1]["map"] = builtin("wordz");
    let error = place.job(fields).unwrap_err();
    assert!(error.to_string().starts_with("spec.steps[1].map.function: there is no map builtin"), "{error}");
}

const TEXTS: [&str; 3] = ["to be or not to be\n", "that is the question\n", "be\n"];

/// Three steps over three objects as pods run them: with several tasks in each phase of each step.
fn place() -> (Place, Job) {
    place_with("Always")
}

fn place_with(cleanup: &str) -> (Place, Job) {
    let place = Place::new();
    for (i, text) in TEXTS.iter().enumerate() {
        place.write(&format!("in/{i}"), text);
    }
    let mut fields = as_pods(three(3, true), true);
    fields["input"] = json!({"splitSize": 1});
    fields["cleanup"] = json!(cleanup);
    let job = place.job(fields).unwrap();
    (place, job)
}

fn attempt(name: &str) -> AttemptId {
    AttemptId::new(name)
}

/// Plans a step and runs all its tasks; the job's result, if that was its end.
fn run_step(place: &Place, job: &Job, number: usize, name: &str) -> bool {
    let job = job.at_step(number);
    let summary = pod::plan(&job, &place.resources).unwrap().summary;
    (0..summary.map_tasks).for_each(|i| drop(pod::map(&job, i, &attempt(name), &place.resources).unwrap()));
    let ends =
        (0..summary.reduce_tasks).map(|i| pod::reduce(&job, i, &attempt(name), &place.resources).unwrap());
    ends.flatten().count() > 0
}

#[test]
fn of_two_attempts_at_every_task_of_every_step_one_counts() {
    let (place, job) = place();
    let mut ended = 0;
    for number in 0..3 {
        std::thread::scope(|scope| {
            let threads = ["a", "b"].map(|name| {
                let (place, job) = (&place, &job);
                scope.spawn(move || run_step(place, job, number, name))
            });
            ended += threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>();
        });
        if number < 2 {
            let pairs = place.names(&format!("shuffle/run-1/steps/{}/pairs", job.name_of(number).unwrap()));
            assert_eq!(pairs.len(), 3, "the losers' pairs are removed: {pairs:?}");
        }
    }
    assert!(ended > 0);
    assert_eq!(place.output_text(), expected(&TEXTS));
    assert!(place.names("shuffle").is_empty());
}

#[test]
fn data_goes_when_the_next_step_is_complete_and_a_late_attempt_does_no_harm() {
    let (place, job) = place();
    let names = |step: &str, kind: &str| place.names(&format!("shuffle/run-1/steps/{step}/{kind}"));
    assert!(!run_step(&place, &job, 0, "a"));
    let maps = place.names("shuffle/run-1/steps/count/shuffle").len();
    assert!(maps > 0 && names("count", "pairs").len() == 3);
    assert!(!run_step(&place, &job, 1, "a"));
    assert!(names("count", "shuffle").is_empty(), "the shuffle objects of a step that is complete");
    assert_eq!(names("count", "pairs").len(), 3, "until the step that reads them is complete");
    pod::plan(&job.at_step(2), &place.resources).unwrap();
    assert!(names("count", "pairs").is_empty() && names("histogram", "shuffle").is_empty());
    assert_eq!(names("histogram", "pairs").len(), 3);
    // The data is gone, the record says that it is done.
    for number in 0..2 {
        let job = job.at_step(number);
        assert!(pod::map(&job, 0, &attempt("late"), &place.resources).unwrap().is_none());
        assert!(pod::reduce(&job, 0, &attempt("late"), &place.resources).unwrap().is_none());
    }
    assert!(names("count", "pairs").is_empty() && names("histogram", "shuffle").is_empty());
    assert!(run_step(&place, &job, 2, "a"));
    assert_eq!(place.output_text(), expected(&TEXTS));
    assert!(place.names("shuffle").is_empty());
}

#[test]
fn an_attempt_whose_data_goes_while_it_runs_finds_that_it_was_not_needed() {
    let (place, job) = place();
    run_step(&place, &job, 0, "a");
    let second = job.at_step(1);
    let summary = pod::plan(&second, &place.resources).unwrap().summary;
    (0..summary.map_tasks).for_each(|i| drop(pod::map(&second, i, &attempt("a"), &place.resources).unwrap()));
    let record = "shuffle/run-1/steps/histogram/commit/map-00000";
    let committed = place.read(record);
    // An attempt that has looked for the record before it was there.
    std::fs::remove_file(place.path(record)).unwrap();
    std::fs::remove_dir_all(place.path("shuffle/run-1/steps/count/pairs")).unwrap();
    assert!(pod::map(&second, 0, &attempt("late"), &place.resources).is_err());
    place.write(record, committed);
    assert!(pod::map(&second, 0, &attempt("late"), &place.resources).unwrap().is_none());
}

#[test]
fn a_planner_that_died_is_followed_by_one_that_finds_its_plan() {
    let (place, job) = place();
    run_step(&place, &job, 0, "a");
    let second = job.at_step(1);
    let planned = pod::plan(&second, &place.resources).unwrap().summary;
    let again = pod::plan(&second, &place.resources).unwrap().summary;
    assert_eq!(again, planned);
    let before = planned.before.unwrap();
    assert_eq!((before.map_output_records, before.input_objects), (11, 3));
}

#[test]
fn damaged_pairs_are_found_and_named() {
    let (place, job) = place();
    run_step(&place, &job, 0, "a");
    for name in place.names("shuffle/run-1/steps/count/pairs") {
        let name = format!("shuffle/run-1/steps/count/pairs/{name}");
        let mut bytes = place.read(&name);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        place.write(&name, bytes);
    }
    let second = job.at_step(1);
    pod::plan(&second, &place.resources).unwrap();
    let error = pod::map(&second, 0, &attempt("a"), &place.resources).unwrap_err();
    let text = format!("{error} {:?}", error.causes());
    assert!(text.contains("step histogram") && text.contains("steps/count/pairs/0000"), "{text}");
    assert!(text.contains("damaged") && error.is_retryable(), "{text}");
}

#[test]
fn cleanup_removes_everything_of_every_step() {
    for steps in 0..3 {
        let (place, job) = place();
        (0..steps).for_each(|number| assert!(!run_step(&place, &job, number, "a")));
        let next = job.at_step(steps);
        pod::plan(&next, &place.resources).unwrap();
        pod::map(&next, 0, &attempt("a"), &place.resources).unwrap();
        assert!(!place.names("shuffle").is_empty());
        pod::cleanup(&job).unwrap();
        assert!(place.names("out").is_empty() && place.names("shuffle").is_empty());
    }
}

#[test]
fn what_failed_keeps_all_of_its_data_for_a_look_under_on_success() {
    let (place, job) = place_with("OnSuccess");
    (0..2).for_each(|number| assert!(!run_step(&place, &job, number, "a")));
    pod::plan(&job.at_step(2), &place.resources).unwrap();
    assert_eq!(place.names("shuffle/run-1/steps/count/pairs").len(), 3);
    assert!(run_step(&place, &job, 2, "a"));
    assert!(place.names("shuffle").is_empty());
}
