//! The whole controller against a server whose every moment is ours: restarts at each write, lost
//! answers, stale caches, other writers. Each test can fail: it looks at what was written, and how often.

#[path = "scenarios/between.rs"]
mod between;
mod fake_api;
#[path = "scenarios/frozen.rs"]
mod frozen;
#[path = "scenarios/left_alone.rs"]
mod left_alone;
#[path = "scenarios/queues.rs"]
mod queues;
#[path = "scenarios/replicas.rs"]
mod replicas;
#[path = "scenarios/steps.rs"]
mod steps;
#[path = "scenarios/stores.rs"]
mod stores;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use fake_api::FakeApi;
use fake_api::cluster::{Cluster, Run, finished};
use fake_api::faults::Kind;
use mapreduce_operator::args::{Args, Watch};
use mapreduce_operator::backoff::Backoff;
use mapreduce_operator::context::Context;
use mapreduce_operator::metrics::Metrics;
use mapreduce_operator::runtime::controllers;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The requests that bring a plain job from its creation to its end, and some more.
const MAX_REQUESTS: usize = 80;

/// A controller that runs until dropped, with nothing remembered from an earlier one.
struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn operator(api: &FakeApi) -> Operator {
    operator_with(api, &["--start-grace=20ms"])
}

fn operator_with(api: &FakeApi, flags: &[&str]) -> Operator {
    let image =
        flags.iter().all(|flag| !flag.starts_with("--worker-image")).then_some("--worker-image=worker:1");
    let args = ["mapreduce-operator"].into_iter().chain(image).chain(flags.iter().copied());
    let args = Args::try_parse_from(args).unwrap();
    let mut context = Context::new(api.client(), Arc::new(Metrics::default()), &args);
    context.backoff = Arc::new(Backoff::new(Duration::from_millis(5), Duration::from_millis(20)));
    let (running, _) = controllers(&Arc::new(context), &Watch::default(), &CancellationToken::new());
    Operator(tokio::spawn(running))
}

fn cluster(cluster: Cluster) -> Operator {
    Operator(tokio::spawn(cluster.run()))
}

fn submit(api: &FakeApi, spec: &Value) {
    let mut job = json!({
        "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob", "metadata": {},
        "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"},
                 "reduce": {"function": {"builtin": {"name": "sum"}}}},
    });
    for (key, value) in spec.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    api.store().create(("mapreducejobs".into(), "ns".into(), "wc".into()), job);
}

fn edit(api: &FakeApi, change: impl FnOnce(&mut Value)) {
    let mut store = api.store();
    let mut job = store.get("mapreducejobs", "wc").unwrap().clone();
    change(&mut job);
    store.update("edit", ("mapreducejobs".into(), "ns".into(), "wc".into()), job);
}

fn delete(api: &FakeApi, resource: &str, name: &str) {
    api.store().delete(&(resource.into(), "ns".into(), name.into()));
}

fn phase(api: &FakeApi) -> String {
    let store = api.store();
    let job = store.get("mapreducejobs", "wc");
    job.and_then(|job| job["status"]["phase"].as_str()).unwrap_or_default().to_owned()
}

async fn until(api: &FakeApi, what: &str, true_of: impl Fn(&FakeApi) -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !true_of(api) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    if waited.await.is_err() {
        let store = api.store();
        panic!(
            "waited in vain for: {what}\n{}\n{:#?}",
            store.log.join("\n"),
            store.get("mapreducejobs", "wc")
        );
    }
}

/// The job has ended this way and is held no more.
async fn ends(api: &FakeApi, wanted: &str) {
    until(api, wanted, |api| {
        let held = |job: &Value| job["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        phase(api) == wanted && !api.store().get("mapreducejobs", "wc").is_some_and(held)
    })
    .await;
}

fn created(api: &FakeApi) -> Vec<usize> {
    let store = api.store();
    ["wc-plan", "wc-map", "wc-reduce", "wc-cleanup"]
        .iter()
        .map(|job| store.count(&format!("create jobs {job}")))
        .collect()
}

fn condition(api: &FakeApi, kind: &str) -> Value {
    let store = api.store();
    let job = store.get("mapreducejobs", "wc").unwrap();
    let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|c| c["type"] == kind).unwrap_or_default()
}

fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn a_job_runs_through_its_phases_and_ends_with_what_it_wrote() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 1, 0]);
        assert_eq!(condition(&api, "Complete")["status"], "True");
        let store = api.store();
        let job = store.get("mapreducejobs", "wc").unwrap();
        assert_eq!(
            job["status"]["output"],
            json!({"url": "s3://b/out/", "objects": 2, "bytes": 0, "records": 7})
        );
        assert_eq!(
            (&job["status"]["maps"]["progress"], &job["status"]["reduces"]["progress"]),
            (&json!("3/3"), &json!("2/2"))
        );
        let map = store.get("jobs", "wc-map").unwrap();
        assert_eq!(
            (&map["spec"]["completions"], &map["spec"]["completionMode"]),
            (&json!(3), &json!("Indexed"))
        );
    });
}

#[test]
fn a_job_that_has_ended_is_left_in_peace() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = api.store().requests;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(api.store().requests, before);
        // A touch by somebody else is read off the watch alone.
        edit(&api, |job| job["metadata"]["labels"]["touched"] = json!("yes"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(api.store().requests, before);
    });
}

#[test]
fn a_failed_task_is_told_whole_and_its_data_removed_once() {
    run(async {
        let api = FakeApi::default();
        let said = json!({"failed": {"message": "the map function failed", "task": "map-00000", "causes": ["Traceback:\n  x"]}});
        let (_operator, _cluster) =
            (operator(&api), cluster(Cluster::new(&api).with("map", Run::Fail(said, 1))));
        submit(&api, &json!({}));
        ends(&api, "Failed").await;
        let failed = condition(&api, "Failed");
        assert_eq!(failed["reason"], "TaskFailed");
        assert_eq!(failed["message"], "map-00000: the map function failed\nTraceback:\n  x\n(pod wc-map-0)");
        assert_eq!(created(&api), [1, 1, 0, 1]);
        let events = api.store().list("events", "ns", "", "reason=TaskFailed");
        assert_eq!((events.len(), &events[0]["type"]), (1, &json!("Warning")));
    });
}

#[test]
fn an_operator_killed_while_a_failed_job_is_cleaned_up_is_succeeded_by_one_that_ends_it() {
    for n in 1..20 {
        run(async {
            let api = FakeApi::default();
            let _cluster = cluster(Cluster::new(&api).with("reduce", Run::Fail(json!("x"), 1)));
            api.faults().at = Some((n, Kind::KilledAfter));
            let first = operator(&api);
            submit(&api, &json!({}));
            until(&api, "an end", |api| api.faults().fired || phase(api) == "Failed").await;
            drop(first);
            api.faults().dead = false;
            let _second = operator(&api);
            ends(&api, "Failed").await;
            assert_eq!(created(&api), [1, 1, 1, 1], "killed at write {n}");
        });
    }
}

#[test]
fn a_deleted_job_is_gone_once_its_pods_and_its_data_are() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api).with("map", Run::Hang)));
        submit(&api, &json!({}));
        until(&api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
        delete(&api, "mapreducejobs", "wc");
        until(&api, "no job", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
        let store = api.store();
        let at = |what: &str| {
            store.log.iter().rposition(|line| line == what).unwrap_or_else(|| panic!("no {what}"))
        };
        assert!(at("delete pods wc-map-2") < at("create jobs wc-cleanup"), "{}", store.log.join("\n"));
        assert!(at("jobstatus jobs wc-cleanup") < at("patch mapreducejobs wc"));
    });
}

#[test]
fn a_cleanup_that_does_not_end_holds_a_deleted_job_for_its_time_and_no_longer() {
    run(async {
        let api = FakeApi::default();
        let stuck = Cluster::new(&api).with("map", Run::Hang).with("cleanup", Run::Pending);
        let (_operator, _cluster) = (operator_with(&api, &["--cleanup-timeout=1s"]), cluster(stuck));
        submit(&api, &json!({}));
        until(&api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
        delete(&api, "mapreducejobs", "wc");
        until(&api, "no job", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
        assert_eq!(api.store().list("events", "ns", "", "reason=CleanupIncomplete").len(), 1);
    });
}

#[test]
fn a_job_in_a_namespace_that_goes_away_is_let_go_at_once() {
    // By the namespace itself, or where that can't be read by the first refusal.
    for readable in [true, false] {
        run(async {
            let api = FakeApi::default();
            let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api).with("map", Run::Hang)));
            submit(&api, &json!({}));
            until(&api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
            if readable {
                let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
                api.store().create(("namespaces".into(), String::new(), "ns".into()), leaving);
            }
            api.faults().terminating = true;
            delete(&api, "mapreducejobs", "wc");
            until(&api, "no job", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
            assert_eq!(created(&api)[3], 0);
        });
    }
}

#[test]
fn suspending_ends_the_pods_and_resuming_ends_the_job() {
    run(async {
        let api = FakeApi::default();
        let _operator = operator(&api);
        let first = cluster(Cluster::new(&api).with("map", Run::Hang));
        submit(&api, &json!({}));
        until(&api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
        edit(&api, |job| job["spec"]["suspend"] = json!(true));
        until(&api, "no pods", |api| api.store().get("pods", "wc-map-2").is_none()).await;
        assert_eq!(condition(&api, "Suspended")["status"], "True");
        drop(first);
        let _cluster = cluster(Cluster::new(&api));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(phase(&api), "Mapping");
        edit(&api, |job| job["spec"]["suspend"] = json!(false));
        ends(&api, "Succeeded").await;
        assert_eq!(condition(&api, "Suspended")["status"], "False");
        assert_eq!(created(&api), [1, 1, 1, 0]);
    });
}

#[test]
fn pods_that_cannot_start_are_shown_and_end_the_job_in_time() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api).with("map", Run::Pending)));
        submit(&api, &json!({"pendingDeadlineSeconds": 3}));
        until(&api, "a reason", |api| {
            phase(api) == "Mapping" && condition(api, "Progressing")["status"] == "False"
        })
        .await;
        assert_eq!(condition(&api, "Progressing")["reason"], "Unschedulable");
        ends(&api, "Failed").await;
        assert_eq!(condition(&api, "Failed")["reason"], "PendingDeadlineExceeded");
        assert!(api.store().get("pods", "wc-map-2").is_none(), "the pods that wait are ended");
    });
}

#[test]
fn an_active_deadline_ends_the_pods() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api).with("reduce", Run::Hang)));
        submit(&api, &json!({"activeDeadlineSeconds": 1}));
        ends(&api, "Failed").await;
        assert_eq!(condition(&api, "Failed")["reason"], "DeadlineExceeded");
        assert!(api.store().get("pods", "wc-reduce-0").is_none());
        assert_eq!(created(&api), [1, 1, 1, 1]);
    });
}

#[test]
fn a_refusal_is_shown_for_as_long_as_it_lasts() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        api.faults().forbidden = Some(("jobs", "exceeded quota: count/jobs.batch=0"));
        submit(&api, &json!({}));
        until(&api, "a reason", |api| condition(api, "Progressing")["reason"] == "CreateRefused").await;
        assert!(condition(&api, "Progressing")["message"].as_str().unwrap().contains("exceeded quota"));
        api.faults().forbidden = None;
        ends(&api, "Succeeded").await;
        assert_eq!(condition(&api, "Progressing")["status"], "True");
    });
}

#[test]
fn a_pod_template_that_the_server_will_not_have_fails_the_job_in_the_server_s_words() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        api.faults().invalid = Some(("jobs", "spec.template.spec.containers[1].image: Required value"));
        submit(&api, &json!({}));
        ends(&api, "Failed").await;
        let failed = condition(&api, "Failed");
        assert_eq!(failed["reason"], "InvalidSpec");
        assert!(failed["message"].as_str().unwrap().contains("containers[1].image"), "{failed}");
    });
}

#[test]
fn files_that_would_be_gone_with_the_pods_fail_the_job_before_a_pod_is_made() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({"output": {"url": "file:///scratch/out/"}}));
        ends(&api, "Failed").await;
        let failed = condition(&api, "Failed");
        assert_eq!(failed["reason"], "InvalidSpec");
        assert!(failed["message"].as_str().unwrap().contains("a PersistentVolumeClaim"), "{failed}");
        assert_eq!(created(&api), [0, 0, 0, 0]);
    });
}

#[test]
fn a_quota_that_asks_for_limits_is_shown_with_the_field_that_sets_them() {
    run(async {
        let api = FakeApi::default();
        let mut refused = Cluster::new(&api);
        refused.runs.remove("map").unwrap();
        let (_operator, _cluster) = (operator(&api), cluster(refused));
        submit(&api, &json!({}));
        until(&api, "a map Job", |api| api.store().get("jobs", "wc-map").is_some()).await;
        let uid = api.store().get("jobs", "wc-map").unwrap()["metadata"]["uid"].clone();
        let note = "Error creating: pods \"wc-map-0-x\" is forbidden: failed quota: q: must specify limits.cpu for: worker";
        let event =
            json!({"metadata": {}, "reason": "FailedCreate", "note": note, "regarding": {"uid": uid}});
        api.store().create(("events".into(), "ns".into(), "refused".into()), event);
        until(&api, "the remedy", |api| {
            let told = condition(api, "Progressing");
            told["reason"] == "FailedCreate"
                && told["message"].as_str().is_some_and(|m| {
                    m.contains("must specify limits.cpu") && m.contains("set spec.map.resources.limits.cpu")
                })
        })
        .await;
    });
}

#[test]
fn counts_that_change_all_the_time_are_not_written_each_time_and_an_end_is_at_once() {
    run(async {
        let api = FakeApi::default();
        let running = cluster(Cluster::new(&api).with("map", Run::Hang));
        let _operator = operator(&api);
        submit(&api, &json!({}));
        until(&api, "running maps", |api| {
            phase(api) == "Mapping" && api.store().get("pods", "wc-map-2").is_some()
        })
        .await;
        drop(running);
        let before = api.store().count("status mapreducejobs wc");
        for n in 1..=200 {
            let mut map = api.store().get("jobs", "wc-map").unwrap().clone();
            map["status"]["active"] = json!(n);
            api.store().update("jobstatus", ("jobs".into(), "ns".into(), "wc-map".into()), map);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        until(&api, "the last count", |api| {
            api.store().get("mapreducejobs", "wc").unwrap()["status"]["maps"]["active"] == 200
        })
        .await;
        // Two seconds, with time to spare.
        let written = api.store().count("status mapreducejobs wc") - before;
        assert!((1..20).contains(&written), "{written} writes of 200 changes");
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
    });
}

#[test]
fn a_job_that_somebody_else_manages_is_not_touched() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({"managedBy": "kueue.x-k8s.io/multikueue"}));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(api.store().log, ["create mapreducejobs wc"]);
    });
}

#[test]
fn a_job_that_cannot_be_read_is_told_so_and_stops_no_other() {
    run(async {
        let api = FakeApi::default();
        let broken = json!({"apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob", "metadata": {}, "spec": {"later": 1}});
        api.store().create(("mapreducejobs".into(), "ns".into(), "broken".into()), broken);
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        until(&api, "an event", |api| api.store().list("events", "ns", "", "reason=Unreadable").len() == 1)
            .await;
    });
}

#[test]
fn an_expired_job_is_deleted() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({"ttlSecondsAfterFinished": 1}));
        ends(&api, "Succeeded").await;
        until(&api, "no job", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
    });
}

#[test]
fn a_map_only_job_has_no_reduces() {
    run(async {
        let api = FakeApi::default();
        let plan = json!({"planned": {"mapTasks": 3, "reduceTasks": 0, "partitions": 3, "inputObjects": 1, "inputBytes": 1}});
        let only = Cluster::new(&api).with("plan", Run::Succeed(plan)).with("map", Run::Succeed(finished()));
        let (_operator, _cluster) = (operator(&api), cluster(only));
        submit(&api, &json!({"reduce": {"tasks": 0}}));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 0, 0]);
    });
}

#[test]
fn an_empty_input_ends_with_its_plan() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) =
            (operator(&api), cluster(Cluster::new(&api).with("plan", Run::Succeed(finished()))));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 0, 0, 0]);
    });
}

#[test]
fn a_queued_job_s_children_wait_in_its_queue_and_its_pods_do_not() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({"suspend": true}));
        edit(&api, |job| {
            job["metadata"]["labels"] = json!({"kueue.x-k8s.io/queue-name": "q"});
            job["spec"]["suspend"] = json!(false);
        });
        ends(&api, "Succeeded").await;
        for job in api.store().list("jobs", "ns", "", "") {
            assert_eq!(job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "q");
            assert!(job["spec"]["template"]["metadata"]["labels"]["kueue.x-k8s.io/queue-name"].is_null());
        }
    });
}
