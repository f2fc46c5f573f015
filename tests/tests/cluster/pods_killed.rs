//! A pod may end at any moment: another one does its work again, and the result is the same.

use anyhow::{Context as _, Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::scenario::{LIMIT, Scenario, scenario};
use mapreduce_tests::watch::Watch;
use mapreduce_tests::{text, wait};
use serde_json::json;

/// Kills a pod of this phase that runs; gives its task's number and UID.
fn kill_one(scenario: &Scenario, pods: &Watch, job: &MrJob, phase: &str) -> Result<(String, String)> {
    let pod =
        wait::until(&format!("a {phase} pod of {} that runs", job.name), LIMIT, || Ok(pods.running(phase)))?;
    scenario.kubectl(&["delete", "pod", &pod.name, "--grace-period=0", "--force", "--wait=false"])?;
    // It was hit while it ran if it never came to an end of its own.
    ensure!(!pods.has_succeeded(&pod.uid), "{} was done before it could be killed", pod.name);
    println!("killed {}", pod.name);
    Ok((pod.index, pod.uid))
}

#[test]
fn a_mapper_and_a_reducer_that_are_killed_are_run_again() -> Result<()> {
    scenario("pods", |scenario| {
        let text = text::text(24 << 20)?;
        scenario.put("in/a", text.clone())?;
        let job = scenario
            .job("pods", "in/", "out/")
            .map("words")
            .reduce("sum", 2)
            .set("/input/splitSize", json!("8Mi"))
            .slow(15);
        let pods = Watch::of(scenario, "pods", &job)?;
        let job = scenario.submit(job)?;
        let killed = [
            ("map", kill_one(scenario, &pods, &job, "map")?),
            ("reduce", kill_one(scenario, &pods, &job, "reduce")?),
        ];
        let status = scenario.succeeded(&job)?;
        for (phase, (index, uid)) in killed {
            let tasks = pods.uids_by_task();
            let uids = tasks.get(&format!("{phase} {index}")).context("no pods of the task were seen")?;
            ensure!(uids.len() == 2, "{phase} {index} had {} pods", uids.len());
            ensure!(!pods.has_succeeded(&uid), "the pod that was killed succeeded");
            ensure!(status[format!("{phase}s")]["failed"] == 1, "{phase}: {:#}", status[format!("{phase}s")]);
        }
        ensure!(status["counters"] == scenario.success("out/")?["counters"]);
        ensure!(status["counters"]["inputBytes"] == json!(text.len()), "{:#}", status["counters"]);
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)?;
        scenario.only_parts("out/", 2)
    })
}

#[test]
fn a_pod_that_is_evicted_costs_no_attempt() -> Result<()> {
    scenario("evicted", |scenario| {
        let text = text::text(12 << 20)?;
        scenario.put("in/a", text.clone())?;
        let job = scenario.job("evicted", "in/", "out/").word_count(1).set("/retries", json!(0)).slow(10);
        let pods = Watch::of(scenario, "pods", &job)?;
        let job = scenario.submit(job)?;
        let pod = wait::until("a map pod that runs", LIMIT, || Ok(pods.running("map")))?;
        let path = format!("/api/v1/namespaces/{}/pods/{}/eviction", scenario.namespace, pod.name);
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": scenario.namespace},
        });
        let mut create =
            scenario.cluster.kubectl(&scenario.namespace, &["create", "--raw", &path, "-f", "-"]);
        mapreduce_tests::command::run(&mut create, eviction.to_string().as_bytes())?.success()?;
        let status = scenario.succeeded(&job)?;
        ensure!(pods.uids_by_task()["map 0"].len() == 2, "{:?}", pods.uids_by_task());
        ensure!(status["maps"]["failed"] == 0, "{:#}", status["maps"]);
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)
    })
}
