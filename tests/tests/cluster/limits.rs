//! Quotas and limits that a job runs into: which one it is, and what to set.

use anyhow::Result;
use mapreduce_tests::scenario::{LIMIT, condition, scenario};
use mapreduce_tests::wait;
use serde_json::{Value, json};

#[test]
fn a_quota_that_is_too_small_is_named_and_one_that_asks_for_limits_is_met() -> Result<()> {
    scenario("quota", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let quota = |cpu: &str| {
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"},
                   "spec": {"hard": {"limits.cpu": cpu, "limits.memory": "8Gi", "requests.cpu": "4"}}})
        };
        scenario.apply(&quota("1"))?;
        let job = scenario.submit(scenario.job("quota", "in/", "out/").word_count(1))?;
        wait::until_true("the reason", LIMIT, || {
            let status = scenario.read(&job)?["status"].clone();
            let progressing = condition(&status, "Progressing").cloned().unwrap_or(Value::Null);
            let message = progressing["message"].as_str().unwrap_or_default();
            Ok(progressing["status"] == "False"
                && message.contains("exceeded quota")
                && message.contains("limits.cpu"))
        })?;
        // Pods have a limit without anybody's having said so: 4 processors.
        scenario.apply(&quota("8"))?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)
    })
}

#[test]
fn a_pod_that_is_evicted_for_its_disk_names_the_limit_to_raise() -> Result<()> {
    scenario("disk", |scenario| {
        scenario.put("in/a", "a\n")?;
        let fill = "dd if=/dev/zero of=\"$TMPDIR/fill\" bs=1M count=64; sleep 120";
        let job = scenario
            .job("disk", "in/", "out/")
            .set(
                "/map",
                json!({
                    "image": "localhost/busybox:1", "function": {"command": {"shell": fill}},
                    "resources": {"limits": {"memory": "256Mi", "cpu": "1", "ephemeral-storage": "32Mi"}},
                }),
            )
            .reduce("sum", 1)
            .set("/retries", json!(0));
        let job = scenario.submit(job)?;
        wait::until_true("the limit's name", LIMIT, || {
            let status = scenario.read(&job)?["status"].clone();
            let said = ["Progressing", "Failed"].iter().filter_map(|kind| condition(&status, kind));
            Ok(said
                .into_iter()
                .any(|c| c["message"].as_str().is_some_and(|m| m.contains("ephemeral-storage"))))
        })?;
        scenario.kubectl(&["delete", "mrj", "disk", "--timeout=100s"])?;
        scenario.nothing_below("out/")
    })
}
