//! A manifest that is applied again: a job that can't start is mended, one that runs is not changed, one that left orphans
//! starts anew.

use anyhow::{Result, ensure};
use mapreduce_tests::scenario::{LIMIT, condition, scenario};
use mapreduce_tests::{text, wait};
use serde_json::{Value, json};

#[test]
fn a_job_with_a_wrong_secret_and_image_is_mended_by_applying_the_right_manifest() -> Result<()> {
    scenario("mended", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        let right = scenario.job("mended", "in/", "out/").word_count(1);
        let wrong = right
            .clone()
            .set("/storage", scenario.storage("absent"))
            .set("/map/image", json!("localhost/no-such-image:1"));
        let job = scenario.submit(wrong)?;
        wait::until_true("the reason", LIMIT, || {
            let status = scenario.read(&job)?["status"].clone();
            Ok(condition(&status, "Progressing").is_some_and(|progressing| progressing["status"] == "False"))
        })?;
        scenario.apply(&right.manifest)?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)?;
        ensure!(scenario.parts("out/")? == b"a\t2\nb\t1\n");
        scenario.let_go(&job)
    })
}

#[test]
fn what_a_run_has_fixed_is_refused_with_what_may_still_change() -> Result<()> {
    scenario("fixed", |scenario| {
        scenario.put("in/a", text::text(8 << 20)?)?;
        let job = scenario.submit(scenario.job("fixed", "in/", "out/").word_count(2).slow(20))?;
        scenario.in_phase(&job, "Mapping")?;
        wait::until_true("a map pod that has started", LIMIT, || {
            Ok(scenario.read(&job)?["status"]["amendable"] != true)
        })?;
        for (pointer, value) in [
            ("/reduce/tasks", json!(3)),
            ("/reduce/function", json!({"builtin": {"name": "max"}})),
            ("/storage/s3/secretRef/name", json!("another")),
        ] {
            let changed = job.clone().set(pointer, value);
            let refusal = scenario.try_apply(&changed.manifest)?.failure()?;
            ensure!(refusal.contains("parallelism"), "{pointer}: what may change isn't said: {refusal}");
        }
        scenario.patch(&job, &json!({"map": {"parallelism": 1}, "ttlSecondsAfterFinished": 3600}))?;
        scenario.kubectl(&["delete", "mrj", "fixed", "--timeout=100s"])?;
        scenario.nothing_below("out/")
    })
}

#[test]
fn a_job_that_left_orphans_is_made_again_and_they_go() -> Result<()> {
    scenario("again", |scenario| {
        let text = text::text(4 << 20)?;
        scenario.put("in/a", text.clone())?;
        let job = scenario.submit(scenario.job("again", "in/", "out/").word_count(1).slow(20))?;
        scenario.in_phase(&job, "Mapping")?;
        let first = scenario.read(&job)?["metadata"]["uid"].clone();
        scenario.kubectl(&["delete", "mrj", "again", "--cascade=orphan", "--timeout=100s"])?;
        let orphans = scenario.owned("jobs", &job)?;
        ensure!(!orphans.is_empty(), "the deletion left no orphan");
        scenario.submit(job.clone())?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)?;
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)?;
        let left: Vec<Value> = scenario.owned("jobs", &job)?;
        let of_first = |child: &&Value| child["metadata"]["labels"]["mapreduce.dev/job-uid"] == first;
        ensure!(!left.iter().any(|child| of_first(&child)), "Jobs of the first job are left: {left:#?}");
        scenario.let_go(&job)
    })
}
