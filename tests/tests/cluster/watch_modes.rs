//! What an operator watches: a namespace of its own, some namespaces, or the jobs with a label. All others are left alone.
//! That it watches every namespace, all other tests show.

use anyhow::{Result, ensure};
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::release::{FULL_NAME, Release};
use mapreduce_tests::scenario::{LIMIT, Scenario, scenario_alone};
use mapreduce_tests::wait;
use serde_json::json;

/// A small job, which is there from now on.
fn submit(scenario: &Scenario, name: &str) -> Result<MrJob> {
    scenario.put(&format!("{name}-in/a"), "a b a\n")?;
    scenario.submit(scenario.job(name, &format!("{name}-in/"), &format!("{name}-out/")).word_count(1))
}

/// The job is run, and let go when it is deleted: with the rights that this operator has.
fn is_run(scenario: &Scenario, job: &MrJob) -> Result<()> {
    scenario.succeeded(job)?;
    let output = format!("{}-out/", job.name);
    scenario.only_parts(&output, 1)?;
    ensure!(scenario.parts(&output)? == b"a\t2\nb\t1\n");
    scenario.kubectl(&["delete", "mrj", &job.name, "--timeout=100s"]).map(drop)
}

/// Nobody has had to do with the job: looked at when one that came later has ended.
fn is_left_alone(scenario: &Scenario, job: &MrJob) -> Result<()> {
    let read = scenario.read(job)?;
    ensure!(read["status"].is_null() && read["metadata"]["finalizers"].is_null(), "{read:#}");
    ensure!(scenario.owned("jobs", job)?.is_empty());
    Ok(())
}

fn has_no_cluster_role(scenario: &Scenario) -> Result<()> {
    for kind in ["clusterrole", "clusterrolebinding"] {
        ensure!(scenario.get(kind, FULL_NAME)?.is_null(), "there is a {kind}");
    }
    Ok(())
}

#[test]
fn an_operator_of_its_own_namespace_needs_no_right_outside_it() -> Result<()> {
    scenario_alone("own", |scenario| {
        let _release = Release::install(scenario, &["watchOwnNamespace=true"])?;
        has_no_cluster_role(scenario)?;
        Scenario::run("not-own", |other| {
            let foreign = submit(other, "foreign")?;
            is_run(scenario, &submit(scenario, "own")?)?;
            is_left_alone(other, &foreign)
        })
    })
}

#[test]
fn an_operator_of_some_namespaces_runs_their_jobs_and_no_others() -> Result<()> {
    scenario_alone("listed", |scenario| {
        Scenario::run("listed-too", |listed| {
            Scenario::run("not-listed", |other| {
                let namespaces = format!("watchNamespaces={{{},{}}}", scenario.namespace, listed.namespace);
                let _release = Release::install(scenario, &[&namespaces])?;
                has_no_cluster_role(scenario)?;
                let foreign = submit(other, "foreign")?;
                let (first, second) = (submit(scenario, "first")?, submit(listed, "second")?);
                is_run(scenario, &first)?;
                is_run(listed, &second)?;
                is_left_alone(other, &foreign)
            })
        })
    })
}

#[test]
fn an_operator_with_a_selector_runs_the_jobs_that_have_the_label() -> Result<()> {
    scenario_alone("selector", |scenario| {
        let _release = Release::install(scenario, &["labelSelector=shard=a"])?;
        let foreign = submit(scenario, "foreign")?;
        scenario.put("ours-in/a", "a b a\n")?;
        let mut ours = scenario.job("ours", "ours-in/", "ours-out/").word_count(1);
        ours.manifest["metadata"]["labels"] = json!({"shard": "a"});
        is_run(scenario, &scenario.submit(ours)?)?;
        is_left_alone(scenario, &foreign)?;
        // It is ours as soon as it has the label.
        scenario.kubectl(&["label", "mrj", "foreign", "shard=a"])?;
        wait::until_true("a job that is run", LIMIT, || Ok(!scenario.read(&foreign)?["status"].is_null()))?;
        is_run(scenario, &foreign)
    })
}
