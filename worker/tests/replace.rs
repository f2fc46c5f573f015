//! What `output.ifExists: Replace` removes, and what it never does.

mod common;

use std::os::unix::fs::symlink;

use common::{Place, merge, word_count};
use mapreduce_worker::error::{ErrorKind, Result};
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::task::finish::Success;
use serde_json::{Value, json};

fn replacing(fields: Value) -> Value {
    let mut all = word_count(2, false);
    merge(&mut all, json!({"output": {"ifExists": "Replace"}}));
    merge(&mut all, fields);
    all
}

/// A run of its own, not the one that came before.
fn run(place: &Place) -> Result<Success> {
    run_with(place, replacing(json!({})))
}

fn run_with(place: &Place, fields: Value) -> Result<Success> {
    local::run(&place.job_of_run(fields, "run-2")?, &place.resources, &RunProgress::default())
}

/// What is at the output's first level, and the bytes of its parts.
fn result(place: &Place) -> (Vec<String>, Vec<u8>) {
    let names = place.names("out");
    let parts = names.iter().filter(|name| name.starts_with("part-0"));
    let bytes = parts.flat_map(|name| place.read(&format!("out/{name}"))).collect();
    (names, bytes)
}

#[test]
fn an_old_result_is_replaced_with_all_that_runs_leave() {
    let place = Place::of(&[b"a b a".to_vec()], 64 << 20, 1);
    place.run(word_count(5, false)).unwrap();
    for name in
        ["_skipped/part-00007.jsonl", "_mapreduce-dead/commit/map-00000", "_mapreduce-x.tmp", "_report.html"]
    {
        place.write(&format!("out/{name}"), "old");
    }
    run(&place).unwrap();
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000", "part-00001"]);
}

#[test]
fn what_no_run_left_is_named_before_anything_is_touched() {
    for name in ["notes.txt", "sub/part-00000", "part-2026/x", ".hidden"] {
        let place = Place::of(&[b"a b a".to_vec()], 64 << 20, 1);
        place.run(word_count(5, false)).unwrap();
        place.write(&format!("out/{name}"), "mine");
        let before = result(&place);
        let error = run(&place).unwrap_err();
        assert!(error.to_string().contains(&format!("/out/{name} was not left by")), "{error}");
        assert_eq!(error.kind(), ErrorKind::Permanent);
        assert_eq!(result(&place), before);
        assert_eq!(place.read(&format!("out/{name}")), b"mine");
    }
}

#[test]
fn what_appears_while_the_job_runs_is_found_when_it_ends() {
    let place = Place::of(&[b"a b a".to_vec()], 64 << 20, 1);
    place.run(word_count(5, false)).unwrap();
    let shell = format!("cat; echo mine >{}", place.path("out/note").display());
    let fields = json!({
        "map": {"function": {"command": {"shell": shell}}},
        "output": {"ifExists": "Replace"},
        "retries": 0,
    });
    let error = run_with(&place, fields);
    assert!(error.unwrap_err().to_string().contains("/out/note was not left by"));
    assert_eq!(place.names("out").len(), 7, "{:?}", place.names("out"));
}

#[test]
fn a_link_is_judged_by_its_name_and_never_followed() {
    let place = Place::of(&[b"a b a".to_vec()], 64 << 20, 1);
    place.write("prod/part-00000", "prod");
    place.write("prod/sub/x", "prod");
    std::fs::create_dir(place.path("out")).unwrap();
    symlink(place.path("prod"), place.path("out/latest")).unwrap();
    let error = run(&place).unwrap_err();
    assert!(error.to_string().contains("/out/latest was not left by"), "{error}");
    std::fs::rename(place.path("out/latest"), place.path("out/part-00000")).unwrap();
    symlink(place.path("prod/sub/x"), place.path("out/part-00009")).unwrap();
    symlink(place.path("prod"), place.path("out/_mapreduce-x")).unwrap();
    run(&place).unwrap();
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000", "part-00001"]);
    assert!(!place.path("out/part-00000").is_symlink());
    assert_eq!(
        (place.read("prod/part-00000"), place.read("prod/sub/x")),
        (b"prod".to_vec(), b"prod".to_vec())
    );
    assert_eq!(place.names("prod"), ["part-00000", "sub"]);
}

#[test]
fn an_output_that_is_a_link_may_be_written_but_nothing_goes_behind_it() {
    let place = Place::of(&[b"a b a".to_vec()], 64 << 20, 1);
    std::fs::create_dir(place.path("prod")).unwrap();
    symlink(place.path("prod"), place.path("out")).unwrap();
    place.run(replacing(json!({}))).unwrap();
    let written = place.names("prod");
    assert_eq!(written, ["_SUCCESS", "part-00000", "part-00001"]);
    let error = run(&place).unwrap_err();
    assert!(error.to_string().contains("/out/ is a link to"), "{error}");
    assert_eq!(place.names("prod"), written);
    // Under its own name it may.
    run_with(&place, replacing(json!({"output": {"url": "file:prod/"}, "reduce": {"tasks": 1}}))).unwrap();
    assert_eq!(place.names("prod"), ["_SUCCESS", "part-00000"]);
}

#[test]
fn a_link_is_something_that_exists() {
    let place = Place::of(&[b"a b a".to_vec()], 64 << 20, 1);
    std::fs::create_dir(place.path("out")).unwrap();
    symlink("nowhere", place.path("out/dangling")).unwrap();
    let error = place.run(word_count(1, false)).unwrap_err();
    assert!(error.to_string().contains("/out/dangling"), "{error}");
}
