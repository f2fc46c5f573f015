//! Jobs that wait in a queue of Kueue's, and what is done stays done.

use super::*;

/// Submits a job whose Jobs are queued, and waits for running maps that Kueue has admitted.
async fn mapping(api: &FakeApi) -> Value {
    submit(api, &json!({"suspend": true}));
    edit(api, |job| {
        job["metadata"]["labels"] = json!({"kueue.x-k8s.io/queue-name": "q"});
        job["spec"]["suspend"] = json!(false);
    });
    until(api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
    let mut store = api.store();
    let map = store.get("jobs", "wc-map").unwrap().clone();
    let workload = json!({
        "apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload",
        "metadata": {"labels": {"kueue.x-k8s.io/job-uid": map["metadata"]["uid"]}}, "spec": {"active": true},
    });
    store.create(("workloads".into(), "ns".into(), "job-wc-map".into()), workload);
    map["metadata"]["uid"].clone()
}

fn workload(api: &FakeApi) -> Value {
    api.store().get("workloads", "job-wc-map").unwrap().clone()
}

fn set_workload(api: &FakeApi, change: impl FnOnce(&mut Value)) {
    let mut workload = workload(api);
    change(&mut workload);
    api.store().update("admin", ("workloads".into(), "ns".into(), "job-wc-map".into()), workload);
}

/// What Kueue does to the Job.
fn set_suspended(api: &FakeApi, suspended: bool) {
    let mut store = api.store();
    let mut map = store.get("jobs", "wc-map").unwrap().clone();
    map["spec"]["suspend"] = json!(suspended);
    store.update("kueue", ("jobs".into(), "ns".into(), "wc-map".into()), map);
}

fn suspend(api: &FakeApi, suspend: bool) {
    edit(api, |job| job["spec"]["suspend"] = json!(suspend));
}

#[test]
fn a_queued_job_that_is_suspended_and_resumed_keeps_its_jobs_and_their_finished_tasks() {
    run(async {
        let api = FakeApi::default();
        let running = cluster(Cluster::new(&api).with("map", Run::Hang));
        let _operator = operator(&api);
        let uid = mapping(&api).await;
        suspend(&api, true);
        until(&api, "a held Workload", |api| workload(api)["spec"]["active"] == false).await;
        set_suspended(&api, true);
        until(&api, "a suspended job", |api| condition(api, "Suspended")["reason"] == "Suspended").await;
        suspend(&api, false);
        until(&api, "a Workload that Kueue may admit", |api| workload(api)["spec"]["active"] == true).await;
        assert!(workload(&api)["metadata"]["annotations"]["mapreduce.dev/suspended"].is_null());
        until(&api, "the queue", |api| condition(api, "Suspended")["reason"] == "Queued").await;
        drop(running);
        set_suspended(&api, false);
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert_eq!(api.store().get("jobs", "wc-map").unwrap()["metadata"]["uid"], uid);
        assert_eq!(api.store().count("delete jobs wc-map"), 0);
        assert_eq!(condition(&api, "Suspended")["status"], "False");
    });
}

#[test]
fn a_workload_that_somebody_else_holds_stays_held() {
    run(async {
        let api = FakeApi::default();
        let _cluster = cluster(Cluster::new(&api).with("map", Run::Hang));
        let _operator = operator(&api);
        mapping(&api).await;
        set_workload(&api, |workload| workload["spec"]["active"] = json!(false));
        set_suspended(&api, true);
        until(&api, "the queue", |api| condition(api, "Suspended")["reason"] == "Queued").await;
        suspend(&api, true);
        until(&api, "a suspended job", |api| condition(api, "Suspended")["reason"] == "Suspended").await;
        suspend(&api, false);
        until(&api, "the queue again", |api| condition(api, "Suspended")["reason"] == "Queued").await;
        assert_eq!(workload(&api)["spec"]["active"], false);
    });
}

#[test]
fn without_the_right_to_hold_a_workload_its_job_is_made_again() {
    run(async {
        let api = FakeApi::default();
        let running = cluster(Cluster::new(&api).with("map", Run::Hang));
        let _operator = operator(&api);
        let uid = mapping(&api).await;
        api.faults().rightless.push("workloads");
        suspend(&api, true);
        until(&api, "no map Job", |api| api.store().get("jobs", "wc-map").is_none()).await;
        drop(running);
        let _cluster = cluster(Cluster::new(&api));
        suspend(&api, false);
        ends(&api, "Succeeded").await;
        assert_ne!(api.store().get("jobs", "wc-map").unwrap()["metadata"]["uid"], uid);
    });
}
