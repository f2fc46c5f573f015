//! Functions of the user's own, in images of the user's own: the worker is brought to them.

use anyhow::{Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::scenario::{Scenario, scenario};
use mapreduce_tests::{component, text};
use serde_json::{Value, json};

/// Images with a shell and with python3 that the cluster has: `tests/cluster` brings them.
const SHELL: &str = "localhost/busybox:1";
const PYTHON: &str = "localhost/python:1";

fn job(scenario: &Scenario, name: &str, image: &str, map: &Value, reduce: &Value) -> MrJob {
    let image = json!(image);
    scenario
        .job(name, "in/", "out/")
        .set("/map", json!({"image": image, "function": map}))
        .set("/reduce", json!({"image": image, "function": reduce, "tasks": 2}))
}

#[test]
fn commands_of_another_image_count_words() -> Result<()> {
    scenario("commands", |scenario| {
        let text = text::text(2 << 20)?;
        scenario.put("in/a", text.clone())?;
        let split = r"tr -s ' \t\v\f\r' '\n' | sed -e '/^$/d' -e 's/$/\t1/'";
        // As text: for awk `2008.` and `2008` are one number.
        let sum = r#"awk -F '\t' '$1 "" != key "" && NR > 1 {print key "\t" n; n = 0} {key = $1; n += $2} END {if (NR) print key "\t" n}'"#;
        let (map, reduce) = (json!({"command": {"shell": split}}), json!({"command": {"shell": sum}}));
        let job = scenario.submit(job(scenario, "commands", SHELL, &map, &reduce))?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 2)?;
        // Words that are longer than a line of busybox's awk or are not text would be its own matter.
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)
    })
}

#[test]
fn a_command_that_fails_is_tried_again_and_its_own_words_are_shown() -> Result<()> {
    scenario("command", |scenario| {
        scenario.put("in/a", "a b\n")?;
        let map = json!({"command": {"shell": "cat >/dev/null; echo 'no such table: orders' >&2; exit 7"}});
        let sum = json!({"builtin": {"name": "sum"}});
        let job = job(scenario, "command", SHELL, &map, &sum).set("/retries", json!(1));
        let job = scenario.submit(job)?;
        let (reason, message) = scenario.failed(&job)?;
        ensure!(reason == "TaskFailed" && message.contains("no such table: orders"), "{reason}: {message}");
        let described = scenario.kubectl(&["describe", "mrj", "command"])?;
        let (_, events) = described.split_once("Events:").unwrap_or_default();
        ensure!(events.contains("no such table: orders"), "{described}");
        let maps = scenario.read(&job)?["status"]["maps"].take();
        ensure!(maps["failed"] == 2, "not tried twice: {maps}");
        scenario.let_go(&job)?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_script_gives_its_result_or_its_traceback() -> Result<()> {
    scenario("script", |scenario| {
        let text = text::text(1 << 20)?;
        // A script's text is UTF-8.
        let text = String::from_utf8_lossy(&text).into_owned();
        scenario.put("in/a", text.clone())?;
        let python = |source: &str| json!({"script": {"language": "python", "source": source}});
        let map = "import re\ndef map(key, value):\n    for word in re.split('[ \\t\\n\\v\\f\\r]+', value):\n        if word: yield word, 1\n";
        let reduce = "def reduce(key, values):\n    yield key, sum(int(v) for v in values)\n";
        let good = job(scenario, "script", PYTHON, &python(map), &python(reduce));
        let good = scenario.submit(good)?;
        scenario.succeeded(&good)?;
        text::same_lines(&scenario.parts("out/")?, &text::word_count(text.as_bytes())?)?;

        let thrown = "def look_up(value):\n    return {}[value]\ndef map(key, value):\n    yield look_up('absent'), 1\n";
        let bad = job(scenario, "throws", PYTHON, &python(thrown), &python(reduce));
        let bad =
            scenario.submit(bad.set("/output/url", json!(scenario.url("bad/"))).set("/retries", json!(0)))?;
        let (reason, message) = scenario.failed(&bad)?;
        ensure!(reason == "TaskFailed", "{reason}: {message}");
        for words in ["Traceback", "look_up", "KeyError: 'absent'"] {
            ensure!(message.contains(words), "`{words}` is not in: {message}");
        }
        scenario.let_go(&bad)?;
        scenario.nothing_below("bad/")
    })
}

#[test]
fn a_component_of_a_config_map_counts_words_in_any_image() -> Result<()> {
    scenario("component", |scenario| {
        let text = text::text(2 << 20)?;
        scenario.put("in/a", text.clone())?;
        let built = format!("--from-file=word_count.wasm={}", component::word_count()?.display());
        scenario.kubectl(&["create", "configmap", "functions", &built])?;
        let function = json!({"wasm": {"configMapKeyRef": {"name": "functions", "key": "word_count.wasm"}}});
        let job = job(scenario, "component", SHELL, &function, &function);
        let job = scenario.submit(job.set("/combine/function", function))?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 2)?;
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)
    })
}

#[test]
fn a_command_that_takes_more_memory_than_its_pod_may_is_out_of_memory() -> Result<()> {
    scenario("memory", |scenario| {
        scenario.put("in/a", "a b\n")?;
        // Without a limit of processor time: a thousand processes that share half a processor take minutes to be killed.
        let limits = json!({"limits": {"memory": "96Mi"}, "requests": {"cpu": "10m"}});
        for (name, shell) in [("hog", "tail /dev/zero"), ("bomb", "bomb() { bomb | bomb & wait; }; bomb")] {
            let map = json!({"command": {"shell": shell}});
            let job = job(scenario, name, SHELL, &map, &json!({"builtin": {"name": "sum"}}));
            let job = job.set("/map/resources", limits.clone()).set("/retries", json!(0));
            let job = scenario.submit(job)?;
            let (reason, message) = scenario.failed(&job)?;
            ensure!(reason == "OutOfMemory", "{name}: {reason}: {message}");
            ensure!(message.contains("map.resources.limits.memory"), "{name}: no remedy: {message}");
            scenario.let_go(&job)?;
        }
        scenario.nothing_below("out/")
    })
}

#[test]
fn functions_take_scripts_from_config_maps_and_values_from_secrets() -> Result<()> {
    scenario("taken", |scenario| {
        scenario.put("in/a", "x y\nx\n")?;
        let words = "function map(k, v, emit) { for (const word of v.split(' ')) emit(word, 1); }";
        scenario.apply(&json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scripts"}, "data": {"words.js": words},
        }))?;
        scenario.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"token": "s3cret"},
        }))?;
        let script = |key: &str| json!({"script": {"language": "javascript", "sourceFrom": {"configMapKeyRef": {"name": "scripts", "key": key}}}});
        let reduce = json!({"command": {
            "shell": "sed \"s/$/ $TOKEN/\"; env | grep -e ^AWS_ -e ^MAPREDUCE_ || true",
            "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "token", "key": "token"}}}],
        }});
        let good = job(scenario, "taken", SHELL, &script("words.js"), &reduce).set("/reduce/tasks", json!(1));
        let good = scenario.submit(good)?;
        scenario.succeeded(&good)?;
        // The worker's own variables are not among the command's.
        let found = String::from_utf8(scenario.parts("out/")?)?;
        ensure!(found == "x\t1 s3cret\nx\t1 s3cret\ny\t1 s3cret\n", "{found}");
        scenario.let_go(&good)?;

        let bad = job(scenario, "absent", SHELL, &script("no.js"), &json!({"builtin": {"name": "sum"}}));
        let bad = scenario.submit(bad.set("/output/url", json!(scenario.url("bad/"))))?;
        let (reason, message) = scenario.failed(&bad)?;
        ensure!(
            reason == "TaskFailed" && message.contains("no ConfigMap scripts with the key no.js"),
            "{reason}: {message}"
        );
        scenario.let_go(&bad)
    })
}
