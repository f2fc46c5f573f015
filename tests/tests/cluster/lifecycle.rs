//! Suspending, deadlines, and the end of what has ended.

use std::time::Duration;

use anyhow::{Result, ensure};
use mapreduce_tests::scenario::{LIMIT, condition, scenario};
use mapreduce_tests::watch::Watch;
use mapreduce_tests::{text, wait};
use serde_json::json;

#[test]
fn a_job_that_is_suspended_keeps_what_is_done_and_goes_on() -> Result<()> {
    scenario("suspended", |scenario| {
        // One task is done long before the others.
        let (text, small) = (text::text(40 << 20)?, "a few words\n");
        scenario.put("in/a", small)?;
        scenario.put("in/b", text.clone())?;
        let job =
            scenario.job("suspended", "in/", "out/").word_count(2).set("/input/splitSize", json!("20Mi"));
        let job = job.slow(10);
        let pods = Watch::of(scenario, "pods", &job)?;
        let job = scenario.submit(job)?;
        wait::until_true("a map task that is done", LIMIT, || {
            Ok(scenario.read(&job)?["status"]["maps"]["succeeded"].as_u64() >= Some(1))
        })?;
        scenario.patch(&job, &json!({"suspend": true}))?;
        wait::until_true("a job without pods that run", LIMIT, || {
            let status = &scenario.read(&job)?["status"];
            let suspended = condition(status, "Suspended").is_some_and(|c| c["status"] == "True");
            let runs = scenario.owned("pods", &job)?.iter().any(|pod| pod["status"]["phase"] == "Running");
            Ok(suspended && !runs)
        })?;
        let status = scenario.read(&job)?["status"].take();
        ensure!(
            status["phase"] == "Mapping" && status["maps"]["progress"] == "1/3",
            "suspended too late: {status:#}"
        );
        // A while in which nothing happens.
        std::thread::sleep(Duration::from_secs(3));
        ensure!(scenario.read(&job)?["status"]["phase"] == "Mapping");
        scenario.patch(&job, &json!({"suspend": false}))?;
        let status = scenario.succeeded(&job)?;
        let tasks = pods.uids_by_task();
        ensure!(tasks["map 0"].len() == 1, "map task 0 was done, and run again");
        ensure!(tasks["map 1"].len() == 2 && tasks["map 2"].len() == 2, "{tasks:?}");
        ensure!(condition(&status, "Suspended").is_some_and(|c| c["status"] == "False"), "{status:#}");
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&[small.as_bytes(), &text].concat())?)?;
        scenario.only_parts("out/", 2)
    })
}

#[test]
fn a_job_that_has_ended_is_removed_after_its_time() -> Result<()> {
    scenario("ttl", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let job = scenario.job("ttl", "in/", "out/").word_count(1).set("/ttlSecondsAfterFinished", json!(6));
        let job = scenario.submit(job)?;
        scenario.succeeded(&job)?;
        wait::until_true("the end of the resource", Duration::from_mins(1), || {
            Ok(scenario.read(&job)?.is_null())
        })?;
        wait::until_true("the end of its pods", Duration::from_mins(1), || {
            Ok(scenario.owned("pods", &job)?.is_empty())
        })?;
        scenario.only_parts("out/", 1)
    })
}

#[test]
fn a_job_that_takes_too_long_fails() -> Result<()> {
    scenario("deadline", |scenario| {
        scenario.put("in/a", text::text(20 << 20)?)?;
        let job = scenario
            .job("deadline", "in/", "out/")
            .word_count(1)
            .set("/activeDeadlineSeconds", json!(8))
            .slow(20);
        let job = scenario.submit(job)?;
        let (reason, message) = scenario.failed(&job)?;
        ensure!(
            reason == "DeadlineExceeded" && message.contains("activeDeadlineSeconds: 8"),
            "{reason}: {message}"
        );
        scenario.let_go(&job)?;
        let runs = scenario.owned("pods", &job)?.into_iter().find(|pod| pod["status"]["phase"] == "Running");
        ensure!(runs.is_none(), "a pod runs on: {runs:#?}");
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_job_whose_pods_cant_start_says_why_and_fails_in_time() -> Result<()> {
    scenario("pending", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let nowhere = json!({"spec": {"nodeSelector": {"no-node": "has-this"}}});
        let unschedulable = scenario
            .job("unschedulable", "in/", "out/")
            .word_count(1)
            .set("/map/template", nowhere)
            .set("/pendingDeadlineSeconds", json!(10));
        let image = scenario
            .job("image", "in/", "out2/")
            .word_count(1)
            .set("/map/image", json!("registry.invalid/nobody/nothing:1"))
            .set("/pendingDeadlineSeconds", json!(20));
        let jobs = [(unschedulable, "can't be scheduled"), (image, "registry.invalid/nobody/nothing:1")];
        for (job, _) in &jobs {
            scenario.apply(&job.manifest)?;
        }
        for (job, words) in &jobs {
            let (reason, message) = scenario.failed(job)?;
            ensure!(
                reason == "PendingDeadlineExceeded" && message.contains(words),
                "{}: {reason}: {message}",
                job.name
            );
        }
        Ok(())
    })
}

#[test]
fn parallelism_bounds_how_many_pods_run_at_once() -> Result<()> {
    scenario("parallelism", |scenario| {
        for i in 0..4 {
            scenario.put(&format!("in/{i}"), text::text(1 << 20)?)?;
        }
        let job = scenario
            .job("parallelism", "in/", "out/")
            .word_count(4)
            .set("/input/splitSize", json!("256Ki"))
            .set("/reduce/parallelism", json!(1));
        let job = scenario.submit(job)?;
        let most = std::cell::Cell::new(0);
        wait::until_true("the end", LIMIT, || {
            let read = scenario.read(&job)?;
            let active = read["status"]["reduces"]["active"].as_i64().unwrap_or_default();
            most.set(most.get().max(active));
            Ok(read["status"]["phase"] == "Succeeded")
        })?;
        ensure!(most.get() <= 1, "{} reducers ran at once", most.get());
        scenario.only_parts("out/", 4)
    })
}
