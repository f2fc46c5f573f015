//! Jobs with steps: the same Jobs for each of them, one after the other.

use super::between::killed_at_any_write;
use super::*;

/// Three steps, of which the second is map-only.
fn chain() -> Value {
    json!({"reduce": null, "steps": [
        {"name": "count", "reduce": {"function": {"builtin": {"name": "sum"}}}},
        {"name": "swap", "map": {"image": "python:3"}},
        {"name": "sort", "reduce": {"function": {"builtin": {"name": "identity"}}}},
    ]})
}

/// A cluster that plans no reduces for the second step, and tells what the step before has done.
fn steps(api: &FakeApi) -> Cluster {
    let plan = |reduces: u32, before: Option<u32>| {
        let before = before.map(|records| json!({"mapInputRecords": records}));
        Run::Succeed(json!({"planned": {
            "mapTasks": 3, "reduceTasks": reduces, "partitions": 2, "inputObjects": 1, "inputBytes": 10, "before": before,
        }}))
    };
    let end = json!({"finished": {
        "counters": {"mapInputRecords": 600}, "lastStep": {"mapInputRecords": 300}, "parts": 2, "records": 7, "committed": true,
    }});
    Cluster::new(api)
        .with("wc-1-plan", plan(2, None))
        .with("wc-2-plan", plan(0, Some(100)))
        .with("wc-3-plan", plan(2, Some(200)))
        .with("wc-1-reduce", Run::Succeed(json!("done")))
        .with("wc-3-reduce", Run::Succeed(end))
}

const JOBS: [&str; 8] =
    ["wc-1-plan", "wc-1-map", "wc-1-reduce", "wc-2-plan", "wc-2-map", "wc-3-plan", "wc-3-map", "wc-3-reduce"];

fn created_once(api: &FakeApi, what: &str) {
    let store = api.store();
    let made = JOBS.map(|job| store.count(&format!("create jobs {job}")));
    assert_eq!(made, [1; 8], "{what}: {}", store.log.join("\n"));
    assert_eq!(store.list("jobs", "ns", "", "").len(), 8, "{what}");
}

#[test]
fn each_step_has_jobs_of_its_own_one_after_the_other() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(steps(&api)));
        submit(&api, &chain());
        ends(&api, "Succeeded").await;
        created_once(&api, "a plain run");
        let store = api.store();
        let made: Vec<_> = store.log.iter().filter_map(|line| line.strip_prefix("create jobs ")).collect();
        assert_eq!(made, JOBS);
        let status = &store.get("mapreducejobs", "wc").unwrap()["status"];
        assert_eq!(status["step"], json!({"name": "sort", "number": 3, "total": 3}));
        let done: Vec<_> = status["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| format!("{} {}", step["name"].as_str().unwrap(), step["counters"]["mapInputRecords"]))
            .collect();
        assert_eq!(done, ["count 100", "swap 200", "sort 300"]);
        assert_eq!(
            (&status["counters"]["mapInputRecords"], &status["output"]["records"]),
            (&json!(600), &json!(7))
        );
        let job = store.get("jobs", "wc-2-map").unwrap();
        let pod = &job["spec"]["template"];
        assert_eq!(
            (
                &pod["metadata"]["labels"]["mapreduce.dev/step"],
                &job["metadata"]["labels"]["mapreduce.dev/step"]
            ),
            (&json!("swap"), &json!("swap"))
        );
        let worker = &pod["spec"]["containers"][0];
        assert_eq!(worker["args"], json!(["map", "--job", "/etc/mapreduce/job.json", "--step", "2"]));
        assert_eq!(worker["image"], "python:3");
    });
}

#[test]
fn an_operator_killed_at_any_write_of_any_step_is_succeeded_by_one_that_repeats_nothing() {
    for kind in [Kind::KilledAfter, Kind::KilledBefore] {
        let fired = killed_at_any_write(kind, 3 * MAX_REQUESTS, &chain(), steps, created_once);
        // The finalizer twice, eight phases and the end, eight Jobs and their ConfigMap.
        assert!((20..3 * MAX_REQUESTS - 1).contains(&fired), "{kind:?} fired at {fired} writes");
    }
}

#[test]
fn two_operators_on_a_job_with_steps_do_the_work_of_one() {
    run(async {
        let api = FakeApi::default();
        let _operators = (operator(&api), operator(&api), cluster(steps(&api)));
        submit(&api, &chain());
        ends(&api, "Succeeded").await;
        created_once(&api, "two operators");
    });
}

#[test]
fn a_failure_in_a_later_step_ends_the_job_and_cleans_up_once() {
    run(async {
        let api = FakeApi::default();
        let said = json!({"failed": {"message": "step swap: no", "task": "map-00000"}});
        let failing = steps(&api).with("wc-2-map", Run::Fail(said, 3));
        let (_operator, _cluster) = (operator(&api), cluster(failing));
        submit(&api, &chain());
        ends(&api, "Failed").await;
        assert_eq!(condition(&api, "Failed")["message"], "map-00000: step swap: no\n(pod wc-2-map-0)");
        let store = api.store();
        assert_eq!((store.count("create jobs wc-3-plan"), store.count("create jobs wc-cleanup")), (0, 1));
        let cleanup = &store.get("jobs", "wc-cleanup").unwrap()["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(cleanup["args"], json!(["cleanup", "--job", "/etc/mapreduce/job.json"]));
    });
}

#[test]
fn a_step_that_is_suspended_goes_on_where_it_was() {
    run(async {
        let api = FakeApi::default();
        let _operator = operator(&api);
        let first = cluster(steps(&api).with("wc-2-map", Run::Hang));
        submit(&api, &chain());
        until(&api, "running maps", |api| api.store().get("pods", "wc-2-map-2").is_some()).await;
        edit(&api, |job| job["spec"]["suspend"] = json!(true));
        until(&api, "no pods", |api| api.store().get("pods", "wc-2-map-2").is_none()).await;
        drop(first);
        let _cluster = cluster(steps(&api));
        edit(&api, |job| job["spec"]["suspend"] = json!(false));
        ends(&api, "Succeeded").await;
        created_once(&api, "a step that was suspended");
    });
}
