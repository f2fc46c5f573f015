//! Stores that are away, as a job's status tells of them.

use super::*;

/// What a worker says while it waits.
const AWAY: &str = "store away: s3://b/ at http://minio:9000 since 16:05:03 UTC: the connection was refused";

fn progressing(api: &FakeApi, status: &str, reason: &str) -> bool {
    let told = condition(api, "Progressing");
    told["status"] == status && told["reason"] == reason
}

#[test]
fn a_job_whose_pods_wait_for_a_store_says_which_and_since_when_until_it_is_back() {
    run(async {
        for phase in ["plan", "map", "reduce"] {
            let api = FakeApi::default();
            let away = cluster(Cluster::new(&api).with(phase, Run::Unready(AWAY)));
            let _operator = operator(&api);
            submit(&api, &json!({"storage": {"timeoutSeconds": 300}}));
            until(&api, phase, |api| progressing(api, "False", "StoreUnavailable")).await;
            let told = condition(&api, "Progressing");
            assert_eq!(
                told["message"],
                "waiting for a store that is away: s3://b/ at http://minio:9000 since 16:05:03 UTC: the connection \
                 was refused (at most spec.storage.timeoutSeconds: 300)"
            );
            let job = api.store().get("mapreducejobs", "wc").unwrap().clone();
            assert_eq!(job["status"]["reason"], "StoreUnavailable");
            assert!(job["status"]["amendable"].is_null(), "a pod of it has started");
            drop(away);
            // The same pods end well: the cluster makes them so where there are none.
            api.store()
                .objects
                .retain(|key, object| key.0 != "pods" || object["status"]["phase"] != "Running");
            let _back = cluster(Cluster::new(&api));
            ends(&api, "Succeeded").await;
            assert!(progressing(&api, "True", "PodsStarted"));
        }
    });
}

#[test]
fn a_pod_that_is_not_ready_for_another_reason_is_no_store_that_is_away() {
    run(async {
        let api = FakeApi::default();
        let _cluster = cluster(Cluster::new(&api).with("map", Run::Unready("command timed out")));
        let _operator = operator(&api);
        submit(&api, &json!({}));
        until(&api, "a look at its events", |api| {
            phase(api) == "Mapping" && api.store().lists.get("events").is_some_and(|lists| *lists > 2)
        })
        .await;
        assert_ne!(condition(&api, "Progressing")["status"], "False");
    });
}

#[test]
fn a_job_that_has_waited_for_its_store_as_long_as_it_may_has_failed_for_that_reason() {
    run(async {
        for phase in ["plan", "map", "reduce"] {
            let api = FakeApi::default();
            let message = "can't read s3://b/in/1: the store was away for 600 s";
            let said = json!({"failed": {
                "message": message, "permanent": true, "causes": ["http://minio:9000: the connection was refused"],
            }});
            let _cluster = cluster(Cluster::new(&api).with(phase, Run::Fail(said, 4)));
            let _operator = operator(&api);
            submit(&api, &json!({}));
            ends(&api, "Failed").await;
            let failed = condition(&api, "Failed");
            assert_eq!(failed["reason"], "StoreUnavailable", "{phase}");
            let told = failed["message"].as_str().unwrap();
            assert!(told.contains(message) && told.contains("http://minio:9000"), "{told}");
        }
    });
}

#[test]
fn pods_say_whether_they_are_ready_and_what_removes_data_does_not() {
    run(async {
        let api = FakeApi::default();
        let _cluster = cluster(Cluster::new(&api).with("reduce", Run::Fail(json!("x"), 1)));
        let _operator = operator(&api);
        let own =
            json!({"spec": {"containers": [{"name": "worker", "readinessProbe": {"httpGet": {"port": 1}}}]}});
        submit(&api, &json!({"map": {"template": own}}));
        ends(&api, "Failed").await;
        let store = api.store();
        let probe = |job: &str| {
            store.get("jobs", job).unwrap()["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
                .clone()
        };
        for job in ["wc-plan", "wc-map", "wc-reduce"] {
            assert_eq!(probe(job)["exec"]["command"], json!(["/mapreduce-worker", "ready"]), "{job}");
            assert!(probe(job)["httpGet"].is_null(), "{job}");
        }
        assert!(probe("wc-cleanup").is_null(), "one that waits is still getting on");
    });
}
