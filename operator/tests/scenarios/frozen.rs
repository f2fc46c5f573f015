//! What a run does is fixed when its planning begins: edits, other flags and lost objects change nothing of it.

use super::*;

/// The pod template of a Job, without what tells the phases apart.
fn template(api: &FakeApi, job: &str) -> Value {
    api.store().get("jobs", job).unwrap_or_else(|| panic!("no Job {job}"))["spec"]["template"].clone()
}

fn worker(api: &FakeApi, job: &str) -> Value {
    template(api, job)["spec"]["containers"][0].clone()
}

fn revision(api: &FakeApi) -> Value {
    api.store().get("mapreducejobs", "wc").unwrap()["status"]["revision"].clone()
}

/// A job whose maps run until the cluster is dropped.
async fn while_maps_run(api: &FakeApi) {
    let _cluster = cluster(Cluster::new(api).with("map", Run::Hang));
    submit(
        api,
        &json!({"reduce": {"function": {"command": {"shell": "cat", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}}}}),
    );
    until(api, "running maps", |api| api.store().get("pods", "wc-map-2").is_some()).await;
}

/// As a user may, where the API server doesn't know the CRD's rules.
fn edit_all(api: &FakeApi) {
    edit(api, |job| {
        job["spec"]["reduce"]["function"]["command"]["env"][0]["valueFrom"]["secretKeyRef"]["name"] =
            json!("other");
        job["spec"]["reduce"]["image"] = json!("other:2");
        job["spec"]["retries"] = json!(9);
        job["spec"]["storage"] = json!({"s3": {"secretRef": {"name": "keys"}}});
    });
}

#[test]
fn what_is_edited_while_maps_run_changes_nothing_of_the_reduces() {
    let reduce_of = |edited: bool| {
        let mut made = Value::Null;
        run(async {
            let api = FakeApi::default();
            let first = operator(&api);
            while_maps_run(&api).await;
            drop(first);
            if edited {
                edit_all(&api);
            }
            // An upgrade in the middle of the run: other flags, the same pods.
            let _second = operator_with(&api, &["--worker-image=worker:2"]);
            let _cluster = cluster(Cluster::new(&api));
            ends(&api, "Succeeded").await;
            assert_eq!(created(&api), [1, 1, 1, 0]);
            made = api.store().get("jobs", "wc-reduce").unwrap()["spec"].clone();
        });
        made
    };
    let (plain, edited) = (reduce_of(false), reduce_of(true));
    assert_eq!(plain["template"]["spec"]["containers"][0]["image"], "worker:1");
    assert_eq!(edited, plain);
}

#[test]
fn every_pod_is_told_which_revision_it_works_for() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        let config = api.store().get("configmaps", "wc-job").unwrap()["data"]["job.json"].clone();
        let digest = mapreduce_api::wire::digest(config.as_str().unwrap().as_bytes());
        assert_eq!(revision(&api), json!(digest));
        for job in ["wc-plan", "wc-map", "wc-reduce"] {
            let variables = worker(&api, job)["env"].as_array().unwrap().clone();
            assert!(variables.contains(&json!({"name": "MAPREDUCE_REVISION", "value": digest})), "{job}");
        }
    });
}

#[test]
fn a_lost_description_is_made_again_as_it_was() {
    run(async {
        let api = FakeApi::default();
        let _operator = operator(&api);
        while_maps_run(&api).await;
        let before = revision(&api);
        delete(&api, "configmaps", "wc-job");
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert_eq!((created(&api), api.store().count("create configmaps wc-job")), (vec![1, 1, 1, 0], 2));
        assert_eq!(revision(&api), before);
    });
}

#[test]
fn a_lost_description_of_a_job_that_was_edited_since_fails_the_job() {
    run(async {
        let api = FakeApi::default();
        let _operator = operator(&api);
        while_maps_run(&api).await;
        edit_all(&api);
        delete(&api, "configmaps", "wc-job");
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Failed").await;
        let failed = condition(&api, "Failed");
        assert_eq!(failed["reason"], "RevisionLost");
        assert!(failed["message"].as_str().unwrap().contains("ConfigMap wc-job was deleted"), "{failed}");
        assert_eq!(created(&api), [1, 1, 0, 1], "no reduce of another job, and a cleanup");
    });
}

#[test]
fn a_job_that_an_older_operator_has_begun_goes_on() {
    run(async {
        let api = FakeApi::default();
        let first = operator(&api);
        while_maps_run(&api).await;
        drop(first);
        // An older operator has recorded no revision, and its ConfigMap has no pods.
        edit(&api, |job| {
            job["status"].as_object_mut().unwrap().remove("revision").unwrap();
        });
        let key = ("configmaps".to_owned(), "ns".to_owned(), "wc-job".to_owned());
        let mut config = api.store().objects[&key].clone();
        config["data"].as_object_mut().unwrap().remove("pods.json").unwrap();
        api.store().update("edit", key, config);
        edit_all(&api);
        let _second = operator(&api);
        let _cluster = cluster(Cluster::new(&api));
        ends(&api, "Succeeded").await;
        assert_eq!(created(&api), [1, 1, 1, 0]);
        assert_eq!(worker(&api, "wc-reduce")["image"], "worker:1");
        assert_eq!(api.store().get("jobs", "wc-reduce").unwrap()["spec"]["backoffLimitPerIndex"], 3);
    });
}

fn is_amendable(api: &FakeApi) -> bool {
    api.store().get("mapreducejobs", "wc").unwrap()["status"]["amendable"] == true
}

fn mend(api: &FakeApi) {
    edit(api, |job| {
        job["spec"]["map"] = json!({"image": "mended:2", "serviceAccountName": "there"});
        job["spec"]["storage"] = json!({"s3": {"secretRef": {"name": "right"}}});
    });
}

#[test]
fn a_job_whose_first_pod_can_not_start_is_mended_and_runs_as_it_says_by_then() {
    // At once, or while it is suspended.
    for suspended in [false, true] {
        run(async {
            let api = FakeApi::default();
            let _operator = operator(&api);
            let stuck = cluster(Cluster::new(&api).with("plan", Run::Pending));
            submit(
                &api,
                &json!({"map": {"image": "wrong:1"}, "storage": {"s3": {"secretRef": {"name": "wrong"}}}}),
            );
            until(&api, "a job that may be mended", is_amendable).await;
            let before = revision(&api);
            if suspended {
                edit(&api, |job| job["spec"]["suspend"] = json!(true));
                until(&api, "no pods", |api| api.store().get("pods", "wc-plan-0").is_none()).await;
            }
            mend(&api);
            if suspended {
                until(&api, "the new revision", |api| revision(api) != before).await;
                edit(&api, |job| job["spec"]["suspend"] = json!(false));
            }
            until(&api, "another Job", |api| api.store().count("create jobs wc-plan") == 2).await;
            drop(stuck);
            let _cluster = cluster(Cluster::new(&api));
            ends(&api, "Succeeded").await;
            assert_eq!((created(&api), is_amendable(&api)), (vec![2, 1, 1, 0], false));
            for job in ["wc-plan", "wc-map"] {
                assert_eq!(worker(&api, job)["image"], "mended:2", "{job}");
                assert_eq!(template(&api, job)["spec"]["serviceAccountName"], "there", "{job}");
            }
            let secret = json!([{"secretRef": {"name": "right"}}]);
            assert_eq!(worker(&api, "wc-reduce")["envFrom"], secret);
            assert_eq!(api.store().list("events", "ns", "", "reason=Amended").len(), 1);
        });
    }
}

#[test]
fn an_operator_that_ends_at_any_write_of_a_mended_job_is_succeeded_by_one_that_goes_on() {
    let mut fired = 0;
    for n in 1..20 {
        let mut over = false;
        run(async {
            let api = FakeApi::default();
            let first = operator(&api);
            let stuck = cluster(Cluster::new(&api).with("plan", Run::Pending));
            submit(&api, &json!({"map": {"image": "wrong:1"}}));
            until(&api, "a job that may be mended", is_amendable).await;
            api.faults().at = Some((n, Kind::KilledAfter));
            mend(&api);
            until(&api, "the operator's end, or another Job", |api| {
                api.faults().fired || api.store().count("create jobs wc-plan") == 2
            })
            .await;
            over = !api.faults().fired;
            drop((first, stuck));
            api.faults().at = None;
            api.faults().dead = false;
            api.store().drop_watches();
            let _second = operator(&api);
            let _cluster = cluster(Cluster::new(&api));
            ends(&api, "Succeeded").await;
            assert_eq!(worker(&api, "wc-map")["image"], "mended:2", "killed at write {n}");
            assert_eq!(created(&api), [2, 1, 1, 0], "killed at write {n}");
        });
        if over {
            break;
        }
        fired += 1;
    }
    // The revision, the two deletions, the two creations.
    assert!(fired >= 4, "only {fired} writes were cut");
}
