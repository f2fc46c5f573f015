//! The pods' program, started as the operator starts it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mapreduce_api::v1alpha1::Variable;
use mapreduce_api::wire::{JobSummary, Termination};
use serde_json::{Value, json};

mod common;

use common::Place;

/// Runs a pod, and gives its exit code and its last words.
fn pod(place: &Place, args: &[&str], variables: &[(&str, &str)]) -> (i32, Termination) {
    let said = place.path("termination");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapreduce-worker"));
    command.args(args).args(pod_arguments(place, &said));
    command.envs(pod_variables(place)).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = std::fs::read(said).unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&said).unwrap())
}

fn pod_arguments(place: &Place, said: &Path) -> [OsString; 4] {
    ["--job".into(), place.path("job.json").into(), "--termination-log".into(), said.into()]
}

fn pod_variables(place: &Place) -> [(&'static str, OsString); 2] {
    [("JOB_COMPLETION_INDEX", "0".into()), ("MAPREDUCE_SCRATCH", place.path("scratch").into())]
}

fn place(map: &Value, reduce: &Value) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("scratch")).unwrap();
    place.write("in/a", "x\ny x\n");
    let url = |name: &str| format!("file://{}", place.path(name).display());
    let job = json!({"id": "run-1", "name": "test", "spec": {
        "input": {"urls": [url("in/")]}, "output": {"url": url("out/")},
        "map": {"function": map}, "reduce": {"function": reduce, "tasks": 1}, "small": {"mode": "Never"},
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

fn sums_of_words() -> Place {
    place(&json!({"builtin": {"name": "words"}}), &json!({"builtin": {"name": "sum"}}))
}

/// The digest of the description that a pod would mount now.
fn revision(place: &Place) -> String {
    mapreduce_api::wire::digest(&place.read("job.json"))
}

fn edit(place: &Place, field: &str, value: Value) {
    let mut job: Value = serde_json::from_slice(&place.read("job.json")).unwrap();
    job["spec"][field] = value;
    place.write("job.json", job.to_string());
}

#[test]
fn a_pod_that_mounts_another_revision_than_it_was_made_for_fails_the_job_at_once() {
    let place = sums_of_words();
    let made_for = revision(&place);
    edit(&place, "reduce", json!({"function": {"builtin": {"name": "max"}}, "tasks": 1}));
    for phase in ["plan", "map", "reduce", "cleanup"] {
        let (code, said) = pod(&place, &[phase], &[("MAPREDUCE_REVISION", &made_for)]);
        let Termination::Failed(report) = said else { panic!("{said:?}") };
        assert_eq!((code, report.permanent), (3, true), "{phase}");
        let told = [made_for.as_str(), &revision(&place), "its ConfigMap was replaced"];
        assert!(told.iter().all(|part| report.message.contains(part)), "{report:?}");
    }
    assert!(!place.path("out").exists(), "nothing was touched");
}

#[test]
fn a_plan_of_another_revision_is_not_taken() {
    let place = sums_of_words();
    assert_eq!(pod(&place, &["plan"], &[("MAPREDUCE_REVISION", &revision(&place))]).0, 0);
    edit(&place, "reduce", json!({"function": {"builtin": {"name": "max"}}, "tasks": 2}));
    for phase in ["plan", "map"] {
        let (code, said) = pod(&place, &[phase], &[("MAPREDUCE_REVISION", &revision(&place))]);
        let Termination::Failed(report) = said else { panic!("{phase}: {said:?}") };
        assert_eq!((code, report.permanent), (3, true), "{phase}");
        assert!(report.message.starts_with("the plan was made for revision"), "{report:?}");
    }
}

#[test]
fn pods_of_one_revision_finish_their_job_and_clean_up_as_it_is_wanted_by_then() {
    for (cleanup, stays) in [("Always", false), ("Never", true)] {
        let place = sums_of_words();
        finished(&place, &[("MAPREDUCE_REVISION", &revision(&place)), ("MAPREDUCE_CLEANUP", cleanup)]);
        assert_eq!(place.output_text(), "x\t2\ny\t1\n");
        assert_eq!(place.path("out/_mapreduce-run-1").exists(), stays, "{cleanup}");
    }
}

#[test]
fn what_the_plan_and_the_last_task_said_is_said_once_more_and_nothing_is_changed() {
    let place = sums_of_words();
    let (code, said) = pod(&place, &["report"], &[]);
    assert!(code == 3 && matches!(said, Termination::Failed(_)), "there is nothing to say: {said:?}");
    assert!(!place.path("out").exists());
    for phase in ["plan", "map", "reduce"] {
        let (code, said) = pod(&place, &[phase], &[]);
        let (again, restated) = pod(&place, &["report"], &[]);
        assert_eq!((code, again), (0, 0), "{phase}");
        match said {
            // One of several map tasks says nothing of the plan.
            Termination::Done => assert!(matches!(restated, Termination::Planned(_)), "{restated:?}"),
            said => assert_eq!(restated, said, "{phase}"),
        }
    }
    let Termination::Finished(summary) = pod(&place, &["report"], &[]).1 else {
        panic!("the job is finished")
    };
    assert_eq!((summary.counters.map_output_records, summary.records), (3, 2));
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
fn a_task_whose_pods_the_cluster_has_ended_too_often_fails_the_job() {
    let place = sums_of_words();
    edit(&place, "maxDisruptions", json!(2));
    for phase in ["plan", "map", "reduce"] {
        let (code, said) = pod(&place, &[phase], &[("MAPREDUCE_DISRUPTED_BEFORE", "3")]);
        let Termination::Failed(report) = said else { panic!("{phase}: {said:?}") };
        assert_eq!((code, report.permanent), (3, true), "{phase}");
        assert!(report.message.contains("ended 3 pods of this task (spec.maxDisruptions: 2)"), "{report:?}");
        let (code, said) = pod(&place, &[phase], &[("MAPREDUCE_DISRUPTED_BEFORE", "2")]);
        assert_eq!(code, 0, "{phase}: {said:?}");
    }
    // What removes the data is never too much.
    assert_eq!(pod(&place, &["cleanup"], &[("MAPREDUCE_DISRUPTED_BEFORE", "3")]).0, 0);
}

/// The place's job, with `small` in its spec.
fn small(place: &Place, small: &Value) {
    let job = String::from_utf8(place.read("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&job).unwrap();
    job["spec"]["small"] = small.clone();
    place.write("job.json", job.to_string());
}

#[test]
fn a_small_job_runs_whole_in_its_planner_s_pod() {
    let place = place(&json!({"builtin": {"name": "words"}}), &json!({"builtin": {"name": "sum"}}));
    small(&place, &json!({"mode": "Auto"}));
    let (code, said) = pod(&place, &["plan"], &[]);
    let Termination::Finished(summary) = said else { panic!("{code}: {said:?}") };
    let plan = summary.plan.unwrap();
    assert_eq!((code, plan.map_tasks, plan.reduce_tasks), (0, 1, 1));
    assert_eq!(place.output_text(), "x\t2\ny\t1\n");
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000"]);
}

#[test]
fn a_small_job_whose_pod_died_is_gone_on_with_by_the_next() {
    let place = place(&json!({"builtin": {"name": "words"}}), &json!({}));
    let died = place.path("died").display().to_string();
    let dies = format!("if [ ! -e {died} ]; then touch {died}; kill -9 $PPID; fi; cat");
    let job = String::from_utf8(place.read("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&job).unwrap();
    job["spec"]["reduce"]["function"] = json!({"command": {"shell": dies}});
    place.write("job.json", job.to_string());
    small(&place, &json!({"mode": "Auto"}));
    let said = place.path("termination");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapreduce-worker"));
    command.arg("plan").args(pod_arguments(&place, &said)).envs(pod_variables(&place));
    assert_eq!(command.output().unwrap().status.code(), None, "it was to be killed");
    // The map task is committed: the next planner does not read the input again.
    std::fs::remove_file(place.path("in/a")).unwrap();
    let (code, said) = pod(&place, &["plan"], &[]);
    assert!(matches!(said, Termination::Finished(_)), "{code}: {said:?}");
    assert_eq!(place.output_text(), "x\t1\nx\t1\ny\t1\n");
}

/// A function that writes a line for each attempt at its task, and fails at the record `y x` with what `fails` says.
fn failing(place: &Place, fails: &str) -> Value {
    let log = place.path("tries").display().to_string();
    let source = format!(
        "def map(key, value):\n    if value == 'y x':\n        open({log:?}, 'a').write('x')\n        n = len(open({log:?}).read())\n        {fails}\n    yield value, 1\n"
    );
    json!({"script": {"language": "python", "source": source}})
}

fn failing_place(fails: &str) -> Place {
    let place = place(&json!({}), &json!({"builtin": {"name": "sum"}}));
    let job = String::from_utf8(place.read("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&job).unwrap();
    job["spec"]["map"]["function"] = failing(&place, fails);
    place.write("job.json", job.to_string());
    place
}

#[test]
fn the_same_failure_of_a_function_at_the_same_record_twice_is_final() {
    let place = failing_place("raise ValueError('nope')");
    assert_eq!(pod(&place, &["plan"], &[]).0, 0);
    let (code, said) = pod(&place, &["map"], &[]);
    let Termination::Failed(report) = said else { panic!("{said:?}") };
    assert_eq!((code, report.permanent, place.read("tries").len()), (3, true, 2));
    assert!(report.causes.iter().any(|cause| cause.contains("ValueError: nope")), "{report:?}");
}

/// What a pod logs with this message, each as its fields.
fn logged(place: &Place, variables: &[(&str, &str)], message: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mapreduce-worker"));
    command.arg("map").args(pod_arguments(place, &place.path("termination")));
    let output = command.envs(pod_variables(place)).envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.map(|line| line["fields"].clone()).filter(|fields| fields["message"] == message).collect()
}

#[test]
fn a_pod_s_log_names_task_and_attempt_and_has_a_traceback_line_by_line() {
    let place = failing_place("raise ValueError('no \"such\" thing')");
    assert_eq!(pod(&place, &["plan"], &[]).0, 0);
    for (message, attempts) in
        [("The function failed and is tried again.", [2, 2]), ("The attempt failed.", [3, 4])]
    {
        let logged = logged(&place, &[("MAPREDUCE_FAILED_BEFORE", "1")], message);
        assert_eq!(logged.len(), 1, "{message}: {logged:?}");
        let [fields] = &logged[..] else { panic!() };
        assert_eq!(fields["task"], "map-00000", "{message}");
        assert!(attempts.contains(&fields["attempt"].as_u64().unwrap()), "{message}: {fields}");
        let causes = fields["causes"].as_str().unwrap();
        assert!(causes.contains("Traceback (most recent call last):\n  File \"<map script>\""), "{causes}");
        assert!(causes.contains("ValueError: no \"such\" thing"), "{causes}");
    }
}

#[test]
fn a_function_that_fails_in_another_way_each_time_is_tried_as_often_as_the_job_says() {
    let place = failing_place("raise ValueError(str(n))");
    assert_eq!(pod(&place, &["plan"], &[]).0, 0);
    let (code, said) = pod(&place, &["map"], &[]);
    let Termination::Failed(report) = said else { panic!("{said:?}") };
    assert_eq!((code, report.permanent, place.read("tries").len(), report.attempts), (3, true, 4, 4));
    // Attempts of pods before count.
    let (code, _) = pod(&place, &["map"], &[("MAPREDUCE_FAILED_BEFORE", "2")]);
    assert_eq!((code, place.read("tries").len()), (3, 6));
}

#[test]
fn a_function_that_fails_once_is_tried_again_in_the_same_pod() {
    let place = failing_place("if n < 2: raise ValueError('once')");
    let summary = finished(&place, &[]);
    assert_eq!(place.output_text(), "x\t1\ny x\t1\n");
    assert_eq!((summary.counters.map_input_records, summary.counters.failed_tasks), (2, 1));
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

/// What makes a process the first of a PID namespace, as a container's is; nothing where nobody may.
fn own_pid_namespace() -> Option<Vec<&'static str>> {
    let ways = [vec!["--pid", "--fork"], vec!["--user", "--map-root-user", "--pid", "--fork"]];
    ways.into_iter().find(|way| {
        let tried = Command::new("unshare").args(way).args(["sh", "-c", "test $$ = 1"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

#[test]
fn two_attempts_that_are_both_process_1_of_a_shared_volume_write_under_names_of_their_own() {
    let Some(namespace) = own_pid_namespace() else {
        eprintln!("left out: this user may make no PID namespace");
        return;
    };
    // Both have written something when the first of them may end.
    let place = Place::new();
    let go = place.path("go");
    let waits = format!("echo process $PPID; while [ ! -e {} ]; do sleep 0.05; done; cat", go.display());
    let url = |name: &str| format!("file://{}", place.path(name).display());
    place.write("in/a", "x\n".repeat(10));
    std::fs::create_dir(place.path("scratch")).unwrap();
    let job = json!({"id": "run-1", "name": "test", "spec": {
        "input": {"urls": [url("in/")]}, "output": {"url": url("out/")},
        "map": {"function": {"command": {"shell": waits}}}, "reduce": {"tasks": 0}, "small": {"mode": "Never"},
    }});
    place.write("job.json", job.to_string());
    assert_eq!(pod(&place, &["plan"], &[]).0, 0);

    let mut attempts: Vec<_> = ["a", "b"]
        .map(|name| {
            let said = place.path(&format!("termination-{name}"));
            let mut command = Command::new("unshare");
            command.args(&namespace).arg(env!("CARGO_BIN_EXE_mapreduce-worker")).arg("map");
            command.args(pod_arguments(&place, &said)).envs(pod_variables(&place));
            (command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap(), said)
        })
        .into_iter()
        .collect();
    let staged = || place.names("out/_mapreduce-run-1").into_iter().filter(|name| name.starts_with("part-"));
    let deadline = Instant::now() + Duration::from_mins(1);
    while staged().count() < 2 {
        let ended =
            attempts.iter_mut().find_map(|(attempt, said)| Some((attempt.try_wait().unwrap()?, said)));
        if let Some((ended, said)) = ended {
            panic!("{ended}: {}", String::from_utf8_lossy(&std::fs::read(said).unwrap_or_default()));
        }
        assert!(Instant::now() < deadline, "the attempts have not begun to write: {:?}", place.names("out"));
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(go, "").unwrap();
    for (attempt, _) in attempts {
        let output = attempt.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000"]);
    assert_eq!(place.output_text(), format!("process 1\t\n{}", "x\t\n".repeat(10)));
}

#[test]
fn a_stream_is_refused_by_the_plan_of_pods() {
    let place = place(&json!({"builtin": {"name": "words"}}), &json!({"builtin": {"name": "sum"}}));
    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut job: Value = serde_json::from_slice(&place.read("job.json")).unwrap();
    job["spec"]["input"]["urls"] = json!([format!("file://{}", fifo.display())]);
    place.write("job.json", job.to_string());
    let (code, said) = pod(&place, &["plan"], &[]);
    let Termination::Failed(report) = said else { panic!("{said:?}") };
    assert_eq!((code, report.permanent), (3, true));
    assert_eq!(report.message, format!("file://{} is a stream, which pods can't share", fifo.display()));
    // The operator's next pod.
    let (code, _) = pod(&place, &["cleanup"], &[]);
    assert_eq!((code, place.names("out")), (0, Vec::new()));
}
