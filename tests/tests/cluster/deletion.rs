//! Deleting a job ends its pods and removes its intermediate data, and never takes for ever.

use std::time::Duration;

use anyhow::{Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::scenario::{LIMIT, Scenario, scenario};
use mapreduce_tests::{text, wait};

/// A job whose map phase lasts for minutes.
fn long(scenario: &Scenario, name: &str, output: &str) -> Result<MrJob> {
    scenario.put("in/a", text::text(20 << 20)?)?;
    scenario.submit(scenario.job(name, "in/", output).word_count(1).slow(20))
}

fn pods_run(scenario: &Scenario, job: &MrJob, phase: &str) -> Result<()> {
    wait::until_true(&format!("{phase} pods of {}", job.name), LIMIT, || {
        let pods = scenario.owned("pods", job)?;
        Ok(pods.iter().any(|pod| {
            pod["metadata"]["labels"]["mapreduce.dev/phase"] == phase && pod["status"]["phase"] == "Running"
        }))
    })
}

#[test]
fn a_job_deleted_while_it_runs_leaves_no_pod_and_no_intermediate_object() -> Result<()> {
    scenario("deleted", |scenario| {
        scenario.put("first/a", "a b a\n")?;
        let first = scenario.submit(scenario.job("first", "first/", "done/").word_count(1))?;
        scenario.succeeded(&first)?;
        let job = long(scenario, "second", "out/")?;
        pods_run(scenario, &job, "map")?;
        ensure!(!scenario.output("out/")?.is_empty(), "there is no plan to be removed");

        // kubectl waits for the end by itself.
        scenario.kubectl(&["delete", "mrj", "second", "--timeout=100s"])?;
        wait::until_true("the end of all pods and Jobs", LIMIT, || {
            Ok(scenario.owned("pods", &job)?.is_empty() && scenario.owned("jobs", &job)?.is_empty())
        })?;
        ensure!(scenario.owned("configmaps", &job)?.is_empty(), "a ConfigMap is left");
        scenario.nothing_below("out/")?;

        // What was committed stays, also when its job goes.
        scenario.kubectl(&["delete", "mrj", "first", "--timeout=60s"])?;
        scenario.only_parts("done/", 1)?;
        ensure!(scenario.parts("done/")? == b"a\t2\nb\t1\n");
        Ok(())
    })
}

#[test]
fn a_job_deleted_while_it_reduces_leaves_no_part_and_no_upload() -> Result<()> {
    scenario("reducing", |scenario| {
        scenario.put("in/a", text::text(24 << 20)?)?;
        // One of the two reducers has next to nothing to do, and has staged its part when the job is deleted.
        let mut job = scenario.job("reducing", "in/", "out/").map("words").reduce("sum", 2).slow(15);
        job.manifest["spec"]["map"]["resources"]["limits"]["cpu"] = "2".into();
        let job = scenario.submit(job)?;
        scenario.in_phase(&job, "Reducing")?;
        pods_run(scenario, &job, "reduce")?;
        scenario.kubectl(&["delete", "mrj", "reducing", "--timeout=100s", "--cascade=foreground"])?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_namespace_deleted_while_a_job_runs_ends() -> Result<()> {
    scenario("namespace", |scenario| {
        let job = long(scenario, "job", "out/")?;
        pods_run(scenario, &job, "map")?;
        scenario.kubectl(&["delete", "namespace", &scenario.namespace, "--wait=false"])?;
        wait::until_true("the end of the namespace", Duration::from_mins(2), || {
            Ok(scenario.get("namespace", &scenario.namespace)?.is_null())
        })
    })
}
