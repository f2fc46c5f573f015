//! What comes in between: an operator that dies, requests that fail, others who write, what is left or lost.

use super::fake_api::cluster::planned;
use super::*;

/// Kills the operator at each write in turn, and lets another one go on. Says how many writes there were.
pub(super) fn killed_at_any_write(
    kind: Kind,
    most: usize,
    spec: &Value,
    cluster_of: impl Fn(&FakeApi) -> Cluster,
    check: impl Fn(&FakeApi, &str),
) -> usize {
    let mut fired = 0;
    for n in 1..most {
        let mut over = false;
        run(async {
            let api = FakeApi::default();
            let _cluster = cluster(cluster_of(&api));
            api.faults().at = Some((n, kind));
            let first = operator(&api);
            submit(&api, spec);
            until(&api, "the end of the operator or of the job", |api| {
                api.faults().fired
                    || (phase(api) == "Succeeded" && api.store().count("patch mapreducejobs wc") == 2)
            })
            .await;
            over = !api.faults().fired;
            drop(first);
            api.faults().dead = false;
            api.store().drop_watches();
            let _second = operator(&api);
            ends(&api, "Succeeded").await;
            check(&api, &format!("{kind:?} at write {n}"));
        });
        if over {
            break;
        }
        fired += 1;
    }
    fired
}

#[test]
fn an_operator_killed_at_any_write_is_succeeded_by_one_that_repeats_nothing() {
    for kind in [Kind::KilledAfter, Kind::KilledBefore] {
        let fired = killed_at_any_write(kind, MAX_REQUESTS, &json!({}), Cluster::new, |api, what| {
            assert_eq!(created(api), [1, 1, 1, 0], "{what}: {}", api.store().log.join("\n"));
        });
        // The finalizer, four phases, three Jobs and their ConfigMap, the finalizer: each was cut once.
        assert!((10..MAX_REQUESTS - 1).contains(&fired), "{kind:?} fired at {fired} writes");
    }
}

#[test]
fn an_error_at_any_request_delays_a_job_and_does_not_change_it() {
    let mut fired = 0;
    for n in 1..MAX_REQUESTS {
        let mut over = false;
        run(async {
            let api = FakeApi::default();
            api.faults().at = Some((n, Kind::Error));
            let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
            submit(&api, &json!({}));
            ends(&api, "Succeeded").await;
            assert_eq!(created(&api), [1, 1, 1, 0], "500 at request {n}");
            assert_eq!(condition(&api, "Complete")["reason"], "OutputCommitted");
            over = !api.faults().fired;
        });
        if over {
            break;
        }
        fired += 1;
    }
    assert!(fired >= 30, "only {fired} requests failed");
}

#[test]
fn a_watch_that_stays_behind_makes_nothing_twice() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        until(&api, "a plan", |api| api.store().get("jobs", "wc-plan").is_some()).await;
        // From here on the operator's cache shows the job as it was before it was planned.
        api.store().silent.push("mapreducejobs".into());
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 1, 0]);
    });
}

#[test]
fn two_operators_on_one_job_do_the_work_of_one() {
    run(async {
        let api = FakeApi::default();
        let _operators = (operator(&api), operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 1, 0]);
        for phase in ["Planning", "Mapping", "Reducing", "Succeeded"] {
            let events = api.store().list("events", "ns", "", &format!("reason={phase}"));
            assert_eq!(events.len(), 1, "{phase} was told {} times", events.len());
        }
    });
}

#[test]
fn a_status_write_that_was_overtaken_is_made_anew() {
    run(async {
        let api = FakeApi::default();
        api.faults().overtaken = 7;
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        assert_eq!(api.store().count("touch mapreducejobs wc"), 7);
        assert_eq!(created(&api), [1, 1, 1, 0]);
    });
}

#[test]
fn a_name_that_is_somebody_else_s_fails_the_job_and_leaves_the_object() {
    for (resource, name) in [("jobs", "wc-map"), ("configmaps", "wc-job")] {
        run(async {
            let api = FakeApi::default();
            let theirs = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": {"template": {}},
                                "status": {"conditions": [{"type": "Complete", "status": "True"}]}});
            let theirs =
                if resource == "jobs" { theirs } else { json!({"metadata": {}, "data": {"theirs": "x"}}) };
            let key = (resource.to_owned(), "ns".to_owned(), name.to_owned());
            let before = api.store().create(key.clone(), theirs);
            let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
            submit(&api, &json!({"cleanup": "Never"}));
            ends(&api, "Failed").await;
            let failed = condition(&api, "Failed");
            assert_eq!(failed["reason"], "NameTaken");
            assert!(failed["message"].as_str().unwrap().contains(name), "{failed}");
            assert_eq!(api.store().objects[&key], before);
        });
    }
}

#[test]
fn what_an_earlier_job_of_the_name_has_left_is_waited_for() {
    run(async {
        let api = FakeApi::default();
        let owner = json!([{"kind": "MapReduceJob", "name": "wc", "uid": "earlier", "controller": true, "apiVersion": "v"}]);
        for (resource, name) in [("jobs", "wc-plan"), ("configmaps", "wc-job")] {
            let left =
                json!({"metadata": {"ownerReferences": owner}, "spec": {"template": {}, "completions": 1}});
            api.store().create((resource.into(), "ns".into(), name.into()), left);
        }
        let _operator = operator(&api);
        submit(&api, &json!({}));
        until(&api, "Planning", |api| phase(api) == "Planning").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(created(&api), [1, 0, 0, 0], "the one of the earlier job");
        // The garbage collector comes late.
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [2, 1, 1, 0]);
    });
}

#[test]
fn a_running_phase_whose_job_was_deleted_is_run_again() {
    run(async {
        let api = FakeApi::default();
        let _operator = operator(&api);
        let first = cluster(Cluster::new(&api).with("map", Run::Hang));
        submit(&api, &json!({}));
        until(&api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
        drop(first);
        delete(&api, "jobs", "wc-map");
        for i in 0..3 {
            delete(&api, "pods", &format!("wc-map-{i}"));
        }
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 2, 1, 0]);
    });
}

#[test]
fn a_job_that_has_ended_makes_nothing_when_its_jobs_are_removed() {
    for (run_of_map, end) in
        [(Run::Succeed(json!("done")), "Succeeded"), (Run::Fail(json!("x"), 1), "Failed")]
    {
        run(async {
            let api = FakeApi::default();
            let (first, _cluster) =
                (operator(&api), cluster(Cluster::new(&api).with("map", run_of_map.clone())));
            submit(&api, &json!({}));
            ends(&api, end).await;
            let made = created(&api);
            drop(first);
            let jobs = api.store().list("jobs", "ns", "", "");
            for job in jobs {
                delete(&api, "jobs", job["metadata"]["name"].as_str().unwrap());
            }
            let _second = operator(&api);
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(created(&api), made);
            assert_eq!(phase(&api), end);
        });
    }
}

/// The Jobs that say once more what was said.
fn reports(api: &FakeApi) -> usize {
    api.store().count("create jobs wc-report")
}

#[test]
fn a_plan_and_an_end_that_were_not_written_are_said_once_more() {
    run(async {
        let api = FakeApi::default();
        let _operator = operator(&api);
        // A full disk: the pods end well, and their words are missing.
        let silent = Cluster::new(&api).with("plan", Run::Succeed(json!("")));
        let first = cluster(silent.with("report", Run::Succeed(planned())).with("map", Run::Hang));
        submit(&api, &json!({}));
        until(&api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
        drop(first);
        let silent = Cluster::new(&api).with("reduce", Run::Succeed(json!("")));
        let _second = cluster(silent.with("report", Run::Succeed(finished())));
        ends(&api, "Succeeded").await;
        assert_eq!((created(&api), reports(&api)), (vec![1, 1, 1, 0], 2));
        let job = api.store().get("mapreducejobs", "wc").unwrap().clone();
        assert_eq!(job["status"]["counters"]["reduceOutputRecords"], 7);
        assert_eq!(job["status"]["output"]["objects"], 2);
    });
}
