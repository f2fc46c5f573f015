//! The pods' program, started as the operator starts it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use mapreduce_api::v1alpha1::Variable;
use mapreduce_api::wire::{JobSummary, Termination};
use serde_json::{Value, json};

mod common;

use common::Place;

/// Runs a pod, and gives its exit code and its last words.
fn pod(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> (i32, Termination) {
    let said = place.path("termination");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapreduce-worker"));
    command.args(args).arg("--job").arg(place.path("job.json")).arg("--termination-log").arg(&said);
    command.env("JOB_COMPLETION_INDEX", "0").env("MAPREDUCE_SCRATCH", place.path("scratch"));
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = std::fs::read(said).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&said).unwrap())
}

fn place(map: &Value, reduce: &Value) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("scratch")).unwrap();
    place.write("in/a", "x\ny x\n");
    let url = |name: &str| format!("file://{}", place.path(name).display());
    let job = json!({"id": "run-1", "name": "test", "spec": {
        "input": {"urls": [url("in/")]}, "output": {"url": url("out/")},
        "map": {"function": map}, "reduce": {"function": reduce, "tasks": 1},
    }});
    place.write("job.json", job.to_string());
    place
}

/// Runs plan, map and reduce; what the last of them says.
fn finished(place: &Place, variables: &[(&str, &str)]) -> JobSummary {
    for phase in ["plan", "map", "reduce"] {
        let (code, said) = pod(place, &[phase], variables);
        assert_eq!(code, 0, "{phase}: {said:?}");
        if let Termination::Finished(summary) = said {
            return *summary;
        }
    }
    panic!("nobody has finished the job");
}

fn script(key: &str) -> Value {
    json!({"script": {"language": "javascript", "sourceFrom": {"configMapKeyRef": {"name": "scripts", "key": key}}}})
}

#[test]
fn functions_have_what_the_operator_has_brought_for_them() {
    let from = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let optional = json!({"secretKeyRef": {"name": "s", "key": "no", "optional": true}});
    let env = json!([{"name": "TOKEN", "valueFrom": from}, {"name": "UNSET", "valueFrom": optional}]);
    let reduce = json!({"command": {"shell": "sed \"s/$/ $TOKEN ${UNSET-unset}/\"; env | sed -n 's/^MAPREDUCE_/LEAK_/p'", "env": env}});
    let place = place(&script("words.js"), &reduce);
    place.write(
        "maps/scripts/words.js",
        "function map(k, v, emit) { v.split(' ').forEach(word => emit(word, 1)); }",
    );
    let folder = place.path("maps").display().to_string();
    let name = Variable::pod_name(&from);
    let variables = [("MAPREDUCE_CONFIG_MAPS", folder.as_str()), (name.as_str(), "s3cret")];
    finished(&place, &variables);
    assert_eq!(place.output_text(), "x\t1 s3cret unset\nx\t1 s3cret unset\ny\t1 s3cret unset\n");
}

#[test]
fn a_script_that_no_config_map_has_fails_the_job_at_once() {
    let place = place(&script("gone.js"), &json!({"builtin": {"name": "sum"}}));
    std::fs::create_dir(place.path("maps")).unwrap();
    let folder = place.path("maps").display().to_string();
    let variables = [("MAPREDUCE_CONFIG_MAPS", folder.as_str())];
    assert_eq!(pod(&place, &["plan"], &variables).0, 0);
    let (code, said) = pod(&place, &["map"], &variables);
    let Termination::Failed(report) = said else { panic!("{said:?}") };
    assert_eq!((code, report.permanent), (3, true));
    assert!(report.message.contains("no ConfigMap scripts with the key gone.js"), "{report:?}");
}

#[test]
fn attempts_that_failed_before_are_counted() {
    let place = place(&json!({"builtin": {"name": "words"}}), &json!({"builtin": {"name": "sum"}}));
    let summary = finished(&place, &[("MAPREDUCE_FAILED_BEFORE", "2")]);
    assert_eq!(summary.counters.failed_tasks, 4, "two of the map task, two of the reduce task");
    let success: Value = serde_json::from_slice(&place.read("out/_SUCCESS")).unwrap();
    assert_eq!(success["counters"]["failedTasks"], 4);
}

#[test]
fn the_attempt_behind_the_last_says_that_there_is_nothing_of_the_task() {
    let place = place(&json!({"builtin": {"name": "words"}}), &json!({"builtin": {"name": "sum"}}));
    let job = String::from_utf8(place.read("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&job).unwrap();
    job["spec"]["maxFailedTasks"] = json!(1);
    job["spec"]["retries"] = json!(2);
    place.write("job.json", job.to_string());
    let summary = finished(&place, &[("MAPREDUCE_FAILED_BEFORE", "3")]);
    assert_eq!((summary.counters.map_input_records, place.output_text().as_str()), (0, ""));
    assert_eq!(summary.counters.failed_tasks, 3 + 3, "those of the map task, and of the reduce task");
}

#[test]
fn a_function_that_can_not_be_stopped_ends_its_pod_with_last_words_for_another_attempt() {
    // Hours, in one call of a built-in function.
    let source = "function map() { 'a'.repeat(1e7).includes('a'.repeat(5e6) + 'b'); }";
    let map = json!({"script": {"language": "javascript", "source": source}});
    let place = place(&map, &json!({"builtin": {"name": "sum"}}));
    let job = String::from_utf8(place.read("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&job).unwrap();
    job["spec"]["taskTimeoutSeconds"] = json!(1);
    place.write("job.json", job.to_string());
    assert_eq!(pod(&place, &["plan"], &[]).0, 0);
    let (code, said) = pod(&place, &["map"], &[]);
    let Termination::Failed(report) = said else { panic!("{said:?}") };
    assert_eq!((report.permanent, report.task.as_deref()), (false, Some("map-00000")));
    assert!(code != 0 && report.message == "the map script made no progress for 1 s", "{code}: {report:?}");
    assert_eq!(report.record.unwrap().offset, 0);
}
