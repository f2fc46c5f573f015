//! What is wrong is said: once, clearly, and where it is looked for; nothing half written is left.

use anyhow::{Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::scenario::{LIMIT, Scenario, condition, scenario};
use mapreduce_tests::watch::Watch;
use mapreduce_tests::{text, wait};
use serde_json::{Value, json};

/// Submits a job that has to fail with this reason and these words, and to leave nothing behind.
fn fails(scenario: &Scenario, job: MrJob, reason: &str, words: &[&str]) -> Result<String> {
    let job = scenario.submit(job)?;
    let (is, message) = scenario.failed(&job)?;
    ensure!(is == reason, "{} failed with {is}, not {reason}: {message}", job.name);
    for word in words {
        ensure!(message.contains(word), "{}: `{word}` is not in: {message}", job.name);
    }
    scenario.let_go(&job)?;
    Ok(message)
}

#[test]
fn a_function_that_fails_shows_its_own_error() -> Result<()> {
    scenario("function", |scenario| {
        scenario.put("in/a", "k\t1\nk\tnonsense\n")?;
        let job = scenario.job("sums", "in/", "out/").key_value_input().map("identity").reduce("sum", 1);
        let pods = Watch::of(scenario, "pods", &job)?;
        let job = scenario.submit(job)?;
        scenario.kubectl(&["wait", "--for=condition=Failed", "--timeout=180s", "mrj/sums"])?;
        let (reason, message) = scenario.failed(&job)?;
        ensure!(reason == "TaskFailed", "{reason}: {message}");
        ensure!(message.contains("nonsense") && message.contains("reduce-0000"), "{message}");
        let described = scenario.kubectl(&["describe", "mrj", "sums"])?;
        let (_, events) = described.split_once("Events:").unwrap_or_default();
        ensure!(events.contains("Warning") && events.contains("TaskFailed"), "{described}");
        ensure!(events.contains("nonsense"), "{described}");
        scenario.try_kubectl(&["wait", "--for=condition=Complete", "--timeout=1s", "mrj/sums"])?.failure()?;
        // Bad data is bad data: no attempt could do better, and none was made.
        let pods = pods.uids_by_task();
        ensure!(pods.values().all(|uids| uids.len() == 1), "a task was tried again: {pods:?}");
        // The other reducer's pod, which Kubernetes ends then, may have been counted too.
        let failed = scenario.read(&job)?["status"]["reduces"]["failed"].as_u64();
        ensure!(failed >= Some(1), "{failed:?} attempts failed");
        scenario.let_go(&job)?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn input_that_is_missing_is_named() -> Result<()> {
    scenario("missing", |scenario| {
        let absent = scenario.url("absent/");
        fails(scenario, scenario.job("prefix", "absent/", "out/").word_count(1), "PlanFailed", &[&absent])?;
        let bucket = format!("s3://{}-absent/in/", scenario.namespace);
        let job = scenario.job("bucket", "in/", "out/").word_count(1).set("/input/urls", json!([bucket]));
        fails(scenario, job, "PlanFailed", &["no bucket", &format!("{}-absent", scenario.namespace)])?;
        scenario.nothing_below("")
    })
}

#[test]
fn an_output_that_exists_is_left_as_it_is() -> Result<()> {
    scenario("exists", |scenario| {
        scenario.put("in/a", "a b\n")?;
        scenario.put("out/mine", "precious")?;
        let there = scenario.url("out/mine");
        fails(
            scenario,
            scenario.job("exists", "in/", "out/").word_count(1),
            "PlanFailed",
            &["exists", &there],
        )?;
        ensure!(scenario.output("out/")? == ["mine"], "{:?}", scenario.output("out/")?);
        ensure!(scenario.cluster.bucket.get(&scenario.key("out/mine"))? == "precious");
        Ok(())
    })
}

#[test]
fn wrong_credentials_are_said_at_once() -> Result<()> {
    scenario("keys", |scenario| {
        scenario.put("in/a", "a b\n")?;
        scenario.secret("wrong", &scenario.cluster.bucket.access_key, "not-the-secret-key")?;
        let job =
            scenario.job("keys", "in/", "out/").word_count(1).set("/storage", scenario.storage("wrong"));
        let message = fails(scenario, job, "PlanFailed", &["credentials"])?;
        ensure!(!message.contains("not-the-secret-key"), "{message}");
        let pods =
            scenario.kubectl(&["get", "pods", "--selector=mapreduce.dev/phase=plan", "--output=name"])?;
        ensure!(pods.lines().count() == 1, "a plan without credentials was tried again:\n{pods}");
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_secret_that_is_missing_is_named_and_the_job_goes_on_once_it_is_there() -> Result<()> {
    scenario("secret", |scenario| {
        scenario.put("in/a", "a b\n")?;
        let job =
            scenario.job("secret", "in/", "out/").word_count(1).set("/storage", scenario.storage("later"));
        let job = scenario.submit(job)?;
        wait::until_true("the reason", LIMIT, || {
            let status = scenario.read(&job)?["status"].clone();
            let progressing = condition(&status, "Progressing").cloned();
            let progressing = progressing.unwrap_or(Value::Null);
            let message = progressing["message"].as_str().unwrap_or_default().to_owned();
            Ok(progressing["status"] == "False" && message.contains("later"))
        })?;
        let bucket = &scenario.cluster.bucket;
        scenario.secret("later", &bucket.access_key, &bucket.secret_key)?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)
    })
}

#[test]
fn the_api_server_refuses_what_contradicts_itself() -> Result<()> {
    scenario("refused", |scenario| {
        let good = || scenario.job("refused", "in/", "out/").word_count(1);
        let mut long = good();
        long.manifest["metadata"]["name"] = json!("n".repeat(51));
        let mut typo = good();
        typo.manifest["spec"]["output"]["urll"] = json!("s3://b/o/");
        for (job, words) in [
            (typo, "spec.output.urll"),
            (long, "metadata.name must be a DNS label of at most 50 characters"),
            (good().set("/reduce/function", Value::Null), "reduce"),
            (good().set("/map/function", json!({})), "a function is exactly one of"),
            (
                good().set("/input/format", json!({"type": "Lines", "keyValue": {}})),
                "keyValue goes with type: KeyValue",
            ),
            (good().set("/retries", json!(-1)), "spec.retries"),
            (good().set("/input/urls", json!([])), "spec.input.urls"),
            (good().set("/reduce/partitioner/type", json!("Random")), "spec.reduce.partitioner.type"),
        ] {
            let refusal = scenario.try_apply(&job.manifest)?.failure()?;
            ensure!(refusal.contains(words), "`{words}` is not in: {refusal}");
        }
        let left = scenario.kubectl(&["get", "mrj", "--output=name"])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
}

#[test]
fn a_field_that_nobody_knows_the_value_of_fails_the_job_with_its_name() -> Result<()> {
    scenario("invalid", |scenario| {
        scenario.put("in/a", "a b\n")?;
        let job = scenario.job("unknown", "in/", "out/").map("wordz").reduce("sum", 1);
        fails(scenario, job, "PlanFailed", &["wordz"])?;
        let template = json!({"spec": {"tolerationz": []}});
        let job = scenario.job("template", "in/", "out/").word_count(1).set("/map/template", template);
        fails(scenario, job, "InvalidSpec", &["spec.map.template", "tolerationz"])?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn an_object_that_changes_while_the_job_runs_fails_it() -> Result<()> {
    scenario("changed", |scenario| {
        scenario.put("in/a", text::text(20 << 20)?)?;
        let job = scenario.submit(scenario.job("changed", "in/", "out/").word_count(1).slow(20))?;
        scenario.in_phase(&job, "Mapping")?;
        scenario.put("in/a", text::text(19 << 20)?)?;
        let (reason, message) = scenario.failed(&job)?;
        ensure!(reason == "TaskFailed" && message.contains(&scenario.url("in/a")), "{reason}: {message}");
        ensure!(message.contains("changed while the job was reading it"), "{message}");
        scenario.let_go(&job)?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn somebody_elses_job_is_not_taken_for_ours() -> Result<()> {
    scenario("taken", |scenario| {
        scenario.put("in/a", "a b\n")?;
        scenario.apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "taken-plan"},
            "spec": {"suspend": true, "template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "worker", "image": "nobody/nothing:1"}],
            }}},
        }))?;
        fails(scenario, scenario.job("taken", "in/", "out/").word_count(1), "NameTaken", &["taken-plan"])?;
        ensure!(!scenario.get("job", "taken-plan")?.is_null(), "somebody else's Job was removed");
        scenario.nothing_below("out/")
    })
}
