//! How a run ends before its time: a signal, its deadline, a function that can't be stopped.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Place, code, stderr};

/// A call of a built-in function that takes hours.
const UNSTOPPABLE: &str = "function map() { 'a'.repeat(1e7).includes('a'.repeat(5e6) + 'b'); }";

impl Place {
    /// Starts a run, and waits until it has begun to write.
    fn started(&self, options: &[&str]) -> Child {
        let mut command = self.command(&["run", "job.yaml"]);
        let child = command.args(options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.names("out").is_empty() {
            assert!(Instant::now() < deadline, "the run did not begin to write");
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }
}

fn send(signal: &str, to: &Child) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &to.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn javascript(source: &str) -> Value {
    json!({"function": {"script": {"language": "javascript", "source": source}}})
}

#[test]
fn a_signal_ends_a_run_with_nothing_left_behind() {
    for (signal, expected) in [("INT", 130), ("TERM", 143)] {
        let place = Place::new();
        place.write("in/big.txt", &"a line of text that is copied and copied\n".repeat(4_000_000));
        place.manifest(&json!({"map": {}, "reduce": {"tasks": 0}}));
        let child = place.started(&["--quiet", "--threads", "1"]);
        send(signal, &child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), expected, "{}", stderr(&output));
        assert!(place.names("out").is_empty(), "{:?}", place.names("out"));
    }
}

#[test]
fn a_job_that_takes_longer_than_it_may_fails_with_nothing_left_behind() {
    let place = Place::new();
    place.manifest(&json!({
        "map": {"function": {"command": {"shell": "sleep 60"}}}, "activeDeadlineSeconds": 1,
    }));
    let output = place.run(&["run", "job.yaml", "--json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = json["error"]["message"].as_str().unwrap();
    assert!(json["state"] == "Failed" && message.contains("spec.activeDeadlineSeconds: 1"), "{json}");
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_signal_ends_a_run_whose_function_can_not_be_stopped() {
    let place = Place::new();
    place.manifest(&json!({"map": javascript(UNSTOPPABLE), "reduce": {"tasks": 0}}));
    let child = place.started(&["--json"]);
    send("INT", &child);
    let output = child.wait_with_output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &json["error"]["message"]), (130, &json!("cancelled")));
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_function_that_can_not_be_stopped_fails_its_run_with_nothing_left_behind() {
    let place = Place::new();
    place.write("in/a.txt", "first\nsecond\n");
    let hangs = UNSTOPPABLE.replace("map() {", "map(key, value) { if (value == 'second')");
    place.manifest(&json!({"map": javascript(&hangs), "reduce": {"tasks": 0}, "taskTimeoutSeconds": 1}));
    let output = place.run(&["run", "job.yaml", "--json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (state, error) = (&json["state"], &json["error"]);
    assert_eq!(
        (state, &error["message"]),
        (&json!("Failed"), &json!("the map script made no progress for 1 s"))
    );
    assert!(error["causes"][0].as_str().unwrap().contains("one call of a built-in function"), "{error}");
    assert_eq!((&error["task"], &error["record"]["offset"]), (&json!("map-00000"), &json!(6)));
    assert!(!place.path().join("out").exists());
}

#[test]
fn a_failed_run_says_at_which_task_and_attempt_and_what_a_signal_most_often_means() {
    let place = Place::new();
    let script = "function reduce() { throw new Error('no such thing'); }";
    for (reduce, said) in [
        (json!({"command": {"shell": "kill -9 $$"}}), "raise reduce.resources.limits.memory"),
        (json!({"script": {"language": "javascript", "source": script}}), "no such thing"),
    ] {
        place.manifest(&json!({"reduce": {"function": reduce, "tasks": 1}, "retries": 1}));
        let output = place.run(&["run", "job.yaml"]);
        let text = stderr(&output);
        assert_eq!(code(&output), 1, "{text}");
        assert!(text.contains("\n  task reduce-00000, attempt 2\n") && text.contains(said), "{text}");
    }
}

#[test]
fn a_script_in_python_on_a_machine_without_one_says_what_is_missing_and_where() {
    let place = Place::new();
    let source = "def map(key, value):\n    yield value, 1\n";
    let map = json!({"function": {"script": {"language": "python", "source": source}}});
    place.manifest(&json!({"map": map, "reduce": {"tasks": 0}}));
    let output = place.command(&["run", "job.yaml"]).env("PATH", place.path()).output().unwrap();
    let text = stderr(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(text.contains("can't start the map script: `python3`: "), "{text}");
    let remedy = "python3 runs it: the image needs one (map.image), or this machine";
    assert!(text.contains(remedy) && !text.contains("interpreter"), "{text}");
}
