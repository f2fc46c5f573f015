//! Containers beside the worker's: injected ones that go on for ever, and those that Kubernetes ends.

use anyhow::{Result, ensure};
use mapreduce_tests::scenario::{LIMIT, condition, scenario};
use mapreduce_tests::wait;
use serde_json::{Value, json};

fn sleeps(name: &str) -> Value {
    json!({"name": name, "image": "localhost/busybox:1", "command": ["sleep", "3600"],
           "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "100m", "memory": "32Mi"}}})
}

#[test]
fn a_container_that_goes_on_after_the_worker_is_named_and_doesn_t_hold_the_job_s_deletion() -> Result<()> {
    scenario("sidecar", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let template = json!({"spec": {"containers": [sleeps("proxy")], "terminationGracePeriodSeconds": 1}});
        let job = scenario.job("sidecar", "in/", "out/").word_count(1).set("/map/template", template);
        let job = scenario.submit(job)?;
        wait::until_true("the reason", LIMIT, || {
            let status = scenario.read(&job)?["status"].clone();
            let progressing = condition(&status, "Progressing").cloned().unwrap_or(Value::Null);
            let message = progressing["message"].as_str().unwrap_or_default();
            Ok(progressing["reason"] == "SidecarRunning"
                && progressing["status"] == "False"
                && message.contains("proxy"))
        })?;
        // Well before `cleanupTimeout`, 120 s.
        scenario.kubectl(&["delete", "mrj", "sidecar", "--timeout=90s"])?;
        wait::until_true("the end of its pods", LIMIT, || Ok(scenario.owned("pods", &job)?.is_empty()))?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_native_sidecar_ends_with_the_worker() -> Result<()> {
    scenario("native", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let mut native = sleeps("proxy");
        native["restartPolicy"] = json!("Always");
        let template = json!({"spec": {"initContainers": [native], "terminationGracePeriodSeconds": 1}});
        let job = scenario
            .job("native", "in/", "out/")
            .word_count(1)
            .set("/map/template", template.clone())
            .set("/reduce/template", template);
        let job = scenario.submit(job)?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)?;
        ensure!(scenario.parts("out/")? == b"a\t2\nb\t1\n");
        scenario.let_go(&job)
    })
}
