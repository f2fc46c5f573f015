//! Two attempts at a task, attempts that die at the worst moment, and outputs that exist.

mod common;

use common::{Place, builtin, counted, parse_counts, word_count};
use mapreduce_api::ids::AttemptId;
use mapreduce_worker::job::{Job, pod};
use serde_json::json;

fn attempt(name: &str) -> AttemptId {
    AttemptId::new(name)
}

const TEXTS: [&str; 3] = ["to be or not to be\n", "that is the question\n", "be\n"];

/// A place with three objects, and a word count of them as pods run it: a map task per object.
fn place() -> (Place, serde_json::Value) {
    let place = Place::new();
    for (i, text) in TEXTS.iter().enumerate() {
        place.write(&format!("in/{i}"), text);
    }
    let mut fields = word_count(2, true);
    fields["input"] = json!({"splitSize": 1});
    fields["shuffle"] = json!({"url": "file:shuffle/"});
    (place, fields)
}

/// Likewise of words that are all different, and too many to go with a commit record.
fn large_place() -> (Place, serde_json::Value, Vec<String>) {
    let (place, fields) = place();
    let words = |i: u32| (0..500_000).map(move |word| format!("a-{i}-longer-word-{word}"));
    let texts: Vec<String> = (0..2).map(|i| words(i).collect::<Vec<_>>().join("\n")).collect();
    std::fs::remove_file(place.path("in/2")).unwrap();
    texts.iter().enumerate().for_each(|(i, text)| place.write(&format!("in/{i}"), text));
    let mut fields = fields;
    fields["input"] = json!({"splitSize": "12Mi"});
    (place, fields, texts)
}

fn assert_right(place: &Place) {
    assert_right_for(place, &TEXTS);
}

fn assert_right_for(place: &Place, texts: &[impl AsRef<[u8]>]) {
    assert_eq!(parse_counts(&place.output()), counted(texts));
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000", "part-00001"]);
    assert!(place.names("shuffle").is_empty(), "intermediate data is left");
}

fn plan(job: &Job, place: &Place) -> (u32, u32) {
    let summary = pod::plan(job, &place.resources).unwrap().summary;
    (summary.map_tasks, summary.reduce_tasks)
}

#[test]
fn of_two_attempts_at_every_task_one_counts() {
    let (place, fields) = place();
    let job = place.job(fields).unwrap();
    let (maps, reduces) = plan(&job, &place);
    assert!(maps >= 3);
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (job, place) = (&job, &place);
            scope.spawn(move || {
                (0..maps).for_each(|i| drop(pod::map(job, i, &attempt(name), &place.resources).unwrap()));
            });
        }
    });
    let objects = place.names("shuffle/run-1/commit");
    assert_eq!(objects.len() as u32, maps, "{objects:?}");
    assert!(!place.path("shuffle/run-1/shuffle").exists(), "what is small goes with the commit record");
    let finished: Vec<_> = std::thread::scope(|scope| {
        let threads = ["a", "b"].map(|name| {
            let (job, place) = (&job, &place);
            scope.spawn(move || {
                (0..reduces).find_map(|i| pod::reduce(job, i, &attempt(name), &place.resources).ok()?)
            })
        });
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(!finished.is_empty());
    assert_right(&place);
    assert_eq!(finished[0].counters.map_output_records, 11, "a task counts once");
}

#[test]
fn what_does_not_fit_in_a_commit_is_an_object_of_its_own_and_a_loser_removes_its_one() {
    let (place, fields, texts) = large_place();
    let job = place.job(fields).unwrap();
    let (maps, reduces) = plan(&job, &place);
    assert_eq!(maps, 2);
    for i in 0..maps {
        // Both have looked for the record before either could write it: an attempt takes much longer than a look.
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                let (job, place) = (&job, &place);
                scope.spawn(move || drop(pod::map(job, i, &attempt(name), &place.resources).unwrap()));
            }
        });
    }
    let objects = place.names("shuffle/run-1/shuffle");
    assert_eq!(objects.len() as u32, maps, "the losers' objects are removed: {objects:?}");
    for (i, object) in objects.iter().enumerate() {
        let record = place.read(&format!("shuffle/run-1/commit/map-{i:05}"));
        assert!(record.len() < 1000, "{} bytes", record.len());
        assert!(String::from_utf8(record).unwrap().contains(object));
    }
    let done = (0..reduces).find_map(|i| pod::reduce(&job, i, &attempt("a"), &place.resources).unwrap());
    assert_eq!(done.unwrap().counters.map_output_records, 1_000_000);
    assert_right_for(&place, &texts);
}

#[test]
fn a_commit_record_may_be_longer_than_what_is_read_at_first() {
    let (place, mut fields) = place();
    fields["reduce"]["tasks"] = json!(600);
    let job = place.job(fields).unwrap();
    let (maps, reduces) = plan(&job, &place);
    (0..maps).for_each(|i| drop(pod::map(&job, i, &attempt("a"), &place.resources).unwrap()));
    assert!(place.read("shuffle/run-1/commit/map-00000").len() > 17 << 10);
    let done = (0..reduces).find_map(|i| pod::reduce(&job, i, &attempt("a"), &place.resources).unwrap());
    assert_eq!(done.unwrap().counters.reduce_output_records, counted(&TEXTS).len() as u64);
}

#[test]
fn a_pod_that_died_after_its_commit_goes_on_where_it_was() {
    let (place, fields) = place();
    let job = place.job(fields).unwrap();
    let (maps, reduces) = plan(&job, &place);
    (0..maps).for_each(|i| drop(pod::map(&job, i, &attempt("a"), &place.resources).unwrap()));
    // The last map task died between its commit and the index.
    std::fs::remove_file(place.path("shuffle/run-1/index")).unwrap();
    pod::map(&job, maps - 1, &attempt("b"), &place.resources).unwrap();
    assert!(place.path("shuffle/run-1/index").exists());
    (0..reduces - 1)
        .for_each(|i| assert!(pod::reduce(&job, i, &attempt("a"), &place.resources).unwrap().is_none()));
    // The plan is made once: a second planner finds it.
    assert_eq!(plan(&job, &place), (maps, reduces));
    let done =
        pod::reduce(&job, reduces - 1, &attempt("a"), &place.resources).unwrap().expect("it is the last");
    // The last reduce task died between _SUCCESS and its last words.
    let again =
        pod::reduce(&job, reduces - 1, &attempt("b"), &place.resources).unwrap().expect("it is finished");
    assert_eq!(again, done);
    assert_right(&place);
}

#[test]
fn a_reduce_task_finds_a_damaged_shuffle_object_and_names_it() {
    let (place, fields) = place();
    let job = place.job(fields).unwrap();
    let (maps, reduces) = plan(&job, &place);
    (0..maps).for_each(|i| drop(pod::map(&job, i, &attempt("a"), &place.resources).unwrap()));
    let name = format!("shuffle/run-1/commit/{}", place.names("shuffle/run-1/commit")[0]);
    let mut bytes = place.read(&name);
    let behind_the_record = bytes.len() - 3;
    bytes[behind_the_record] ^= 1;
    place.write(&name, bytes);
    let errors: Vec<_> =
        (0..reduces).filter_map(|i| pod::reduce(&job, i, &attempt("a"), &place.resources).err()).collect();
    assert!(!errors.is_empty(), "the flipped bit was not seen");
    for error in errors {
        let text = format!("{error} {:?}", error.causes());
        assert!(text.contains("commit/map-0000") && text.contains("damaged"), "{text}");
    }
    assert_eq!(
        place.names("out"),
        ["_mapreduce-run-1"]
            .iter()
            .filter(|n| place.path("out").join(n).exists())
            .map(|n| (*n).to_owned())
            .collect::<Vec<_>>()
    );
}

#[test]
fn cleanup_removes_everything_of_a_job_that_did_not_end() {
    let (place, fields) = place();
    let job = place.job(fields).unwrap();
    let (maps, _) = plan(&job, &place);
    (0..maps).for_each(|i| drop(pod::map(&job, i, &attempt("a"), &place.resources).unwrap()));
    pod::reduce(&job, 0, &attempt("a"), &place.resources).unwrap();
    assert!(!place.names("out").is_empty(), "a part is staged");
    pod::cleanup(&job).unwrap();
    assert!(place.names("out").is_empty() && place.names("shuffle").is_empty());
    pod::cleanup(&job).unwrap();
}

#[test]
fn cleanup_leaves_committed_output() {
    let (place, fields) = place();
    place.run(fields.clone()).unwrap();
    pod::cleanup(&place.job(fields).unwrap()).unwrap();
    assert_right(&place);
}

#[test]
fn an_output_that_exists_is_refused_and_left_as_it_is() {
    let (place, fields) = place();
    place.write("out/old", "precious");
    for fields in [fields, word_count(1, false)] {
        let error = place.run(fields).unwrap_err();
        assert!(error.to_string().contains("out/old"), "{error}");
        assert_eq!(place.names("out"), ["old"]);
    }
}

#[test]
fn replace_takes_the_old_result_away_only_when_the_new_one_is_there() {
    let (place, mut fields) = place();
    place.write("out/part-00009", "precious");
    place.write("out/part-00000", "old");
    fields["output"] = json!({"ifExists": "Replace"});
    let mut failing = fields.clone();
    failing["input"] = json!({"urls": ["file:in/"], "format": {"type": "KeyValue"}});
    failing["map"] = builtin("identity");
    let error = place.run(failing).unwrap_err();
    assert!(error.to_string().contains("is not a number"), "{error}");
    assert_eq!(place.names("out"), ["part-00000", "part-00009"], "a failed run leaves the old result");
    place.run(fields).unwrap();
    assert_right(&place);
}

#[test]
fn an_old_part_is_not_taken_for_a_new_one_that_is_gone() {
    let (place, mut fields) = place();
    place.write("out/part-00000", "an old result, of another size");
    fields["output"] = json!({"ifExists": "Replace"});
    let job = place.job(fields).unwrap();
    let (maps, reduces) = plan(&job, &place);
    (0..maps).for_each(|i| drop(pod::map(&job, i, &attempt("a"), &place.resources).unwrap()));
    pod::reduce(&job, 0, &attempt("a"), &place.resources).unwrap();
    let staged = place.names("out/_mapreduce-run-1").into_iter().find(|name| name.starts_with("part-00000"));
    std::fs::remove_file(place.path("out/_mapreduce-run-1").join(staged.unwrap())).unwrap();
    let error = (1..reduces)
        .find_map(|i| pod::reduce(&job, i, &attempt("a"), &place.resources).err())
        .expect("the old part was taken for the new one");
    assert!(error.to_string().contains("/out/part-00000 is gone"), "{error}");
    assert!(!place.names("out").contains(&"_SUCCESS".to_owned()));
}

#[test]
fn a_reduce_of_nothing_gets_its_retries() {
    for shuffle in [json!({}), json!({"url": "file:shuffle/"})] {
        let place = Place::new();
        let marker = place.path("marker").display().to_string();
        let fails_once = format!("if mkdir {marker}; then exit 3; fi; cat");
        let fields = json!({
            "input": {"urls": ["file:none/*"], "allowEmpty": true},
            "reduce": {"tasks": 2, "function": {"command": {"shell": fails_once}}},
            "retries": 1,
            "shuffle": shuffle,
        });
        let success = place.run(fields).unwrap();
        assert_eq!((success.counters.failed_tasks, success.outputs.len()), (1, 2));
    }
}

#[test]
fn a_failed_run_leaves_nothing() {
    for shuffle in [json!({}), json!({"url": "file:shuffle/"})] {
        let place = Place::new();
        place.write("in/a", "one\t1\ntwo\tx\n".repeat(100));
        let fields =
            json!({"input": {"format": {"type": "KeyValue"}}, "reduce": builtin("sum"), "shuffle": shuffle});
        let error = place.run(fields).unwrap_err();
        assert!(error.to_string().contains("`x`, a value of key `two`, is not a number"), "{error}");
        assert!(place.names("out").is_empty(), "{:?}", place.names("out"));
        assert!(place.names("shuffle").is_empty() && place.names("scratch").is_empty());
    }
}

#[test]
fn an_empty_input_has_empty_parts() {
    for shuffle in [json!({}), json!({"url": "file:shuffle/"})] {
        let place = Place::new();
        place.write("in/a", "");
        let mut fields = word_count(2, true);
        fields["shuffle"] = shuffle;
        let done = place.run(fields).unwrap();
        assert_eq!(place.names("out"), ["_SUCCESS", "part-00000", "part-00001"]);
        assert_eq!((done.counters.input_objects, done.counters.reduce_output_records), (1, 0));
        assert!(place.output().is_empty());
    }
}

#[test]
fn a_job_without_reducers_writes_a_part_per_task_in_the_order_of_the_input() {
    for shuffle in [json!({}), json!({"url": "file:shuffle/"})] {
        let place = Place::new();
        place.write("in/a", "k1\tone\nk0\ttwo\nk2\tthree\n");
        let fields = json!({
            "input": {"format": {"type": "KeyValue"}, "splitSize": 10},
            "shuffle": shuffle,
            "reduce": {"tasks": 0},
        });
        let done = place.run(fields).unwrap();
        assert_eq!(place.output_text(), "k1\tone\nk0\ttwo\nk2\tthree\n");
        assert_eq!(place.names("out").len(), 4, "three splits, three parts, _SUCCESS");
        assert_eq!(done.counters.map_output_records, 3);
        assert_eq!(done.counters.output_bytes, 23);
        assert!(place.names("shuffle").is_empty());
    }
}

#[test]
fn success_holds_the_counters() {
    let (place, fields) = place();
    let done = place.run(fields).unwrap();
    let success: serde_json::Value = serde_json::from_slice(&place.read("out/_SUCCESS")).unwrap();
    assert_eq!(success["counters"], serde_json::to_value(&done.counters).unwrap());
    assert_eq!(success["counters"]["mapInputRecords"], 3);
    assert_eq!(success["counters"]["mapOutputRecords"], 11);
    assert_eq!(success["counters"]["inputBytes"], 43);
    assert_eq!(success["outputs"].as_array().unwrap().len(), 2);
}
