//! The operator may end at any moment: nothing is lost, nothing runs twice.

use std::time::Duration;

use anyhow::{Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::operator::Operator;
use mapreduce_tests::scenario::{LIMIT, Scenario, scenario};
use mapreduce_tests::watch::{Watch, nothing_ran_twice};
use mapreduce_tests::{text, wait};
use serde_json::json;

/// Kills the operator in this phase, several times while it lasts; says how often that hit it.
fn kill_in(
    scenario: &Scenario,
    operator: &Operator<'_>,
    job: &MrJob,
    phase: &str,
    times: u32,
) -> Result<u32> {
    let mut hits = 0;
    scenario.in_phase(job, phase)?;
    for _ in 0..times {
        operator.kill()?;
        // Only the operator moves a job on: one that is still in the phase was hit in it.
        if scenario.read(job)?["status"]["phase"] != phase {
            break;
        }
        hits += 1;
        // Killed once more: now and then before it is ready, or long after.
        if hits % 2 == 1 {
            operator.is_back()?;
        } else {
            std::thread::sleep(Duration::from_millis(700));
        }
    }
    operator.is_back()?;
    println!("operator killed {hits} times in {phase}");
    Ok(hits)
}

#[test]
fn the_operator_killed_in_every_phase_runs_nothing_twice() -> Result<()> {
    scenario("killed", |scenario| {
        let text = text::text(24 << 20)?;
        for (i, piece) in text.chunks(8 << 20).enumerate() {
            scenario.put(&format!("in/{i}"), piece.to_vec())?;
        }
        // Without a combiner the reducers have every word to read.
        let job = scenario
            .job("killed", "in/", "out/")
            .map("words")
            .reduce("sum", 2)
            .set("/input/splitSize", json!("6Mi"))
            .slow(25);
        let (jobs, pods) = (Watch::of(scenario, "jobs", &job)?, Watch::of(scenario, "pods", &job)?);
        let job = scenario.submit(job)?;
        let operator = Operator(scenario.cluster);
        for phase in ["Planning", "Mapping", "Reducing"] {
            let hits = kill_in(scenario, &operator, &job, phase, 3)?;
            ensure!(hits > 0, "the operator was not killed in {phase}");
        }
        let status = scenario.succeeded(&job)?;

        nothing_ran_twice(&jobs, &pods, &status)?;
        let want: Vec<u8> = text::word_count(&text.chunks(8 << 20).collect::<Vec<_>>().join(&b'\n'))?;
        text::same_lines(&scenario.parts("out/")?, &want)?;
        scenario.only_parts("out/", 2)
    })
}

#[test]
fn a_job_that_is_deleted_while_no_operator_is_there_is_cleaned_up_by_the_next_one() -> Result<()> {
    scenario("orphan", |scenario| {
        scenario.put("in/a", text::text(20 << 20)?)?;
        let job = scenario.submit(scenario.job("orphan", "in/", "out/").word_count(1).slow(20))?;
        scenario.in_phase(&job, "Mapping")?;
        Operator(scenario.cluster).kill()?;
        scenario.kubectl(&["delete", "mrj", "orphan", "--wait=false"])?;
        wait::until_true("the end of the job", LIMIT, || Ok(scenario.read(&job)?.is_null()))?;
        scenario.nothing_below("out/")
    })
}
