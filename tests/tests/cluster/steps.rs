//! Jobs of several steps: Jobs for each of them, one after the other, and data that goes as it is used.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::scenario::{LIMIT, Scenario, scenario};
use mapreduce_tests::{text, wait};
use serde_json::{Value, json};

/// Words, then how many words there are of each number, then these by number.
fn histogram(scenario: &Scenario, name: &str) -> MrJob {
    let function = |name: &str| json!({"function": {"builtin": {"name": name}}});
    let reduce = |name: &str, tasks: u32| json!({"function": {"builtin": {"name": name}}, "tasks": tasks});
    let mut sort = reduce("identity", 1);
    sort["sort"] = json!({"by": "Numeric"});
    scenario.job(name, "in/", "out/").set(
        "/steps",
        json!([
            {"name": "count", "map": function("words"), "combine": function("sum"), "reduce": reduce("sum", 3)},
            {"name": "histogram", "map": function("fields"), "reduce": reduce("count", 2)},
            {"name": "sort", "reduce": sort},
        ]),
    )
}

/// Five objects, and what the three steps make of them.
fn input(scenario: &Scenario) -> Result<String> {
    let text = text::text(1 << 20)?;
    for (i, piece) in text.chunks(text.len().div_ceil(5)).enumerate() {
        scenario.put(&format!("in/{i}.txt"), piece.to_vec())?;
    }
    // A word that is cut at a piece's end is two, here as there.
    let pieces: Vec<_> = text.chunks(text.len().div_ceil(5)).collect();
    let counted = text::word_count(&pieces.join(&b'\n'))?;
    let mut numbers = BTreeMap::<u64, u64>::new();
    for line in counted.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let number = line.rsplit(|byte| *byte == b'\t').next().unwrap_or_default();
        *numbers.entry(std::str::from_utf8(number)?.parse()?).or_default() += 1;
    }
    let lines: Vec<String> = numbers.into_iter().map(|(n, words)| format!("{n}\t{words}\n")).collect();
    Ok(lines.concat())
}

fn right(scenario: &Scenario, expected: &str) -> Result<()> {
    scenario.only_parts("out/", 1)?;
    let found = String::from_utf8(scenario.parts("out/")?)?;
    ensure!(found == expected, "found\n{found}\nexpected\n{expected}");
    Ok(())
}

#[test]
fn three_steps_run_one_after_the_other_and_tell_what_each_has_done() -> Result<()> {
    scenario("steps", |scenario| {
        let expected = input(scenario)?;
        let job = scenario.submit(histogram(scenario, "steps"))?;
        let status = scenario.succeeded(&job)?;
        right(scenario, &expected)?;
        ensure!(status["step"] == json!({"name": "sort", "number": 3, "total": 3}), "{:#}", status["step"]);
        let success = scenario.success("out/")?;
        let numbers = |steps: &Value| -> Vec<(String, u64)> {
            let steps = steps.as_array().cloned().unwrap_or_default();
            let one = |step: &Value| {
                (
                    step["name"].as_str().unwrap_or_default().to_owned(),
                    step["counters"]["mapInputRecords"].as_u64().unwrap_or_default(),
                )
            };
            steps.iter().map(one).collect()
        };
        let (told, written) = (numbers(&status["steps"]), numbers(&success["steps"]));
        ensure!(told == written && told.len() == 3, "the status has {told:?}, _SUCCESS {written:?}");
        ensure!(told.iter().all(|(_, records)| *records > 0), "{told:?}");
        ensure!(status["counters"] == success["counters"], "{:#}", status["counters"]);
        let mut names: Vec<_> = scenario
            .owned("jobs", &job)?
            .iter()
            .filter_map(|job| job["metadata"]["name"].as_str().map(str::to_owned))
            .collect();
        names.sort();
        let phases = ["map", "plan", "reduce"];
        let want: Vec<_> =
            (1..=3).flat_map(|step| phases.map(|phase| format!("steps-{step}-{phase}"))).collect();
        ensure!(names == want, "{names:?}");
        let pods = scenario.kubectl(&["get", "pods", "-l", "mapreduce.dev/step=histogram", "-o", "name"])?;
        ensure!(pods.lines().count() >= 4, "pods of the second step: {pods}");
        scenario.let_go(&job)
    })
}

#[test]
fn a_step_that_fails_is_named_and_nothing_is_left() -> Result<()> {
    scenario("stepfails", |scenario| {
        input(scenario)?;
        // Words are not numbers.
        let swapped = json!({"function": {"builtin": {"name": "extract", "args": {"pattern": ".*", "key": "k", "value": "x"}}}});
        let mut job = histogram(scenario, "fails");
        let second = &mut job.manifest["spec"]["steps"][1];
        second["map"] = swapped;
        second["reduce"]["function"] = json!({"builtin": {"name": "sum"}});
        let job = scenario.submit(job)?;
        let (reason, message) = scenario.failed(&job)?;
        ensure!(reason == "TaskFailed" && message.contains("step histogram: "), "{reason}: {message}");
        ensure!(message.contains("is not a number") && message.contains("reduce-0000"), "{message}");
        scenario.let_go(&job)?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_job_that_is_suspended_in_its_second_step_goes_on_there() -> Result<()> {
    scenario("stepsuspend", |scenario| {
        let expected = input(scenario)?;
        let mut job = histogram(scenario, "suspends");
        let slow = json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "30m", "memory": "512Mi"}});
        job.manifest["spec"]["steps"][1]["map"]["resources"] = slow;
        let job = scenario.submit(job)?;
        wait::until_true("the second step", LIMIT, || {
            let status = scenario.read(&job)?["status"].take();
            Ok(status["step"]["number"] == 2 && status["phase"] == "Mapping")
        })?;
        scenario.patch(&job, &json!({"suspend": true}))?;
        wait::until_true("no pods of the second step's maps", LIMIT, || {
            let label = "mapreduce.dev/step=histogram,mapreduce.dev/phase=map";
            let pods = scenario.kubectl(&[
                "get",
                "pods",
                "-l",
                label,
                "--field-selector=status.phase!=Succeeded",
                "-o",
                "name",
            ])?;
            Ok(pods.trim().is_empty())
        })?;
        let first = scenario.get("job", "suspends-1-map")?["metadata"]["uid"].clone();
        scenario.patch(&job, &json!({"suspend": false}))?;
        scenario.succeeded(&job)?;
        right(scenario, &expected)?;
        ensure!(
            scenario.get("job", "suspends-1-map")?["metadata"]["uid"] == first,
            "the first step was run again"
        );
        Ok(())
    })
}

#[test]
fn deleting_a_job_between_its_steps_leaves_nothing() -> Result<()> {
    scenario("stepdelete", |scenario| {
        input(scenario)?;
        let job = scenario.submit(histogram(scenario, "deleted"))?;
        wait::until_true("the second step", LIMIT, || {
            Ok(scenario.read(&job)?["status"]["step"]["number"] == 2)
        })?;
        scenario.kubectl(&["delete", "mrj", "deleted", "--timeout=180s"])?;
        scenario.nothing_below("out/")
    })
}
