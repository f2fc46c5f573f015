//! What a small job costs beside the pods that it is made of.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mapreduce_tests::scenario::{LIMIT, Scenario, scenario_alone};
use mapreduce_tests::{tell, wait};
use serde_json::{Value, json};

/// Three Jobs of the worker's image one after the other, each made when the one before is complete.
fn bare_jobs(scenario: &Scenario, image: &Value, sizes: [u64; 3]) -> Result<Duration> {
    let start = Instant::now();
    for (i, pods) in sizes.into_iter().enumerate() {
        let name = format!("bare-{i}-{}", start.elapsed().as_nanos());
        scenario.apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {
                "completionMode": "Indexed", "completions": pods, "parallelism": pods,
                "template": {"spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "worker", "image": image, "imagePullPolicy": "IfNotPresent",
                        "command": ["/mapreduce-worker", "--version"],
                    }],
                }},
            },
        }))?;
        scenario.kubectl(&["wait", "--for=condition=Complete", "--timeout=120s", &format!("job/{name}")])?;
    }
    Ok(start.elapsed())
}

#[test]
fn a_small_job_takes_little_longer_than_its_pods() -> Result<()> {
    const PARTS: u64 = 2;
    const ROUNDS: usize = 3;
    scenario_alone("latency", |scenario| {
        let mut seconds = (Vec::new(), Vec::new());
        for i in 0..4 {
            scenario.put(&format!("in/{i}"), "a b a\n".repeat(1000))?;
        }
        for round in 0..ROUNDS {
            let name = format!("small{round}");
            let job = scenario.job(&name, "in/", &format!("out{round}/")).word_count(PARTS as u32);
            // Four map tasks of an object each.
            let job = job.set("/input/splitSize", json!("8Ki"));
            let start = Instant::now();
            let job = scenario.submit(job)?;
            let resource = format!("mrj/{name}");
            scenario.kubectl(&["wait", "--for=condition=Complete", "--timeout=120s", &resource])?;
            seconds.0.push(start.elapsed().as_secs_f64());
            let status = scenario.succeeded(&job)?;
            let maps = status["maps"]["total"].as_u64().unwrap_or_default();
            ensure!(maps == 4, "{maps} map tasks");
            let pods = wait::until("the plan's pod", LIMIT, || Ok(scenario.owned("pods", &job)?.pop()))?;
            let image = pods["spec"]["containers"][0]["image"].clone();
            seconds.1.push(bare_jobs(scenario, &image, [1, maps, PARTS])?.as_secs_f64());
        }
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        let (job, bare) = (median(seconds.0.clone()), median(seconds.1.clone()));
        tell(&format!(
            "LATENCY apply to Complete {job:.1} s; three bare Jobs of 1, 4 and {PARTS} pods {bare:.1} s; \
             ratio {:.2} (medians of {seconds:.1?})",
            job / bare
        ));
        Ok(())
    })
}
