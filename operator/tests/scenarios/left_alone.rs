//! What nobody looks after any more: orphans of an earlier job, jobs that no selector has, jobs that can't be read.

use fake_api::cluster::FOREGROUND;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::Api;
use mapreduce_api::v1alpha1::MapReduceJob;
use mapreduce_operator::job::apply::apply;
use mapreduce_operator::job::build::jobs::Size;
use mapreduce_operator::job::build::names::Child;
use mapreduce_operator::job::decision::ApiWrite;
use mapreduce_operator::job::write_outcome::WriteOutcome;
use mapreduce_operator::{orphans, stranded};

use super::*;

fn context(api: &FakeApi) -> Context {
    let args = Args::try_parse_from(["mapreduce-operator", "--worker-image=worker:1"]).unwrap();
    Context::new(api.client(), Arc::new(Metrics::default()), &args)
}

/// Runs maps, and has their namespace go away, which the operator can't read.
async fn in_a_namespace_that_goes_away(api: &FakeApi) -> Operator {
    api.faults().rightless.push("namespaces");
    let running = cluster(Cluster::new(api).with("map", Run::Hang));
    let operator = operator(api);
    submit(api, &json!({}));
    until(api, "running maps", |api| {
        phase(api) == "Mapping" && api.store().get("pods", "wc-map-2").is_some()
    })
    .await;
    drop(running);
    api.faults().terminating = true;
    operator
}

#[test]
fn a_deleted_job_whose_pods_do_not_end_lets_go_of_a_namespace_that_goes_away_without_reading_it() {
    run(async {
        let api = FakeApi::default();
        let _operator = in_a_namespace_that_goes_away(&api).await;
        delete(&api, "mapreducejobs", "wc");
        until(&api, "no job", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
        assert!(api.store().get("pods", "wc-map-2").is_some(), "there was nothing to create");
    });
}

#[test]
fn a_job_that_lost_its_pods_lets_go_of_a_namespace_that_goes_away_without_reading_it() {
    run(async {
        let api = FakeApi::default();
        let _operator = in_a_namespace_that_goes_away(&api).await;
        let mut map = api.store().get("jobs", "wc-map").unwrap().clone();
        map["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        map["status"]["active"] = json!(0);
        map["status"]["ready"] = json!(0);
        api.store().update("jobstatus", ("jobs".into(), "ns".into(), "wc-map".into()), map);
        until(&api, "no map Job", |api| api.store().count("delete jobs wc-map") == 1).await;
        assert_eq!(phase(&api), "Mapping", "it is not at fault");
    });
}

/// Takes a job away as `kubectl delete --cascade=orphan` does: its children stay, without an owner.
fn orphan(api: &FakeApi) {
    let mut store = api.store();
    for resource in ["jobs", "configmaps"] {
        for mut child in store.list(resource, "ns", "", "") {
            let name = child["metadata"]["name"].as_str().unwrap().to_owned();
            child["metadata"]["ownerReferences"] = json!([]);
            store.update("orphan", (resource.into(), "ns".into(), name), child);
        }
    }
    store.objects.remove(&("mapreducejobs".into(), "ns".into(), "wc".into()));
}

#[test]
fn what_an_orphaning_deletion_left_is_removed_for_the_next_job_of_the_name() {
    run(async {
        let api = FakeApi::default();
        let running = cluster(Cluster::new(&api).with("map", Run::Hang));
        let first = operator(&api);
        submit(&api, &json!({}));
        until(&api, "running maps", |api| {
            phase(api) == "Mapping" && api.store().get("jobs", "wc-map").is_some()
        })
        .await;
        drop((first, running));
        orphan(&api);
        let old = api.store().get("jobs", "wc-map").unwrap()["metadata"]["uid"].clone();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
        submit(&api, &json!({}));
        ends(&api, "Succeeded").await;
        assert_ne!(api.store().get("jobs", "wc-map").unwrap()["metadata"]["uid"], old);
        assert_eq!(created(&api), [2, 2, 1, 0], "{}", api.store().log.join("\n"));
    });
}

#[test]
fn a_job_deleted_in_the_foreground_has_its_data_removed_once() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api).with("map", Run::Hang)));
        submit(&api, &json!({}));
        until(&api, "running maps", |api| {
            phase(api) == "Mapping" && api.store().get("jobs", "wc-map").is_some()
        })
        .await;
        edit(&api, |job| job["metadata"]["finalizers"].as_array_mut().unwrap().push(json!(FOREGROUND)));
        delete(&api, "mapreducejobs", "wc");
        until(&api, "a cleanup", |api| api.store().get("jobs", "wc-cleanup").is_some()).await;
        let cleanup = api.store().get("jobs", "wc-cleanup").unwrap().clone();
        until(&api, "its end", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
        assert_eq!(created(&api)[3], 1, "{}", api.store().log.join("\n"));
        assert!(cleanup["spec"]["ttlSecondsAfterFinished"].is_number(), "nobody else removes it");
        let volumes = cleanup["spec"]["template"]["spec"]["volumes"].to_string();
        assert!(volumes.contains("wc-cleanup") && !volumes.contains("wc-job"), "{volumes}");
        assert_eq!(api.store().count("create configmaps wc-cleanup"), 1);
        assert!(api.store().get("configmaps", "wc-cleanup").is_none(), "it was to go with the job");
        until(&api, "the end of its cleanup", |api| api.store().get("jobs", "wc-cleanup").is_none()).await;
    });
}

#[test]
fn a_creation_that_a_webhook_denies_with_any_code_is_shown_in_its_words() {
    for code in [400, 403, 418] {
        run(async {
            let api = FakeApi::default();
            api.faults().denied = Some(("jobs", code));
            let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api)));
            submit(&api, &json!({}));
            until(&api, "the refusal", |api| condition(api, "Progressing")["reason"] == "CreateRefused")
                .await;
            let message = condition(&api, "Progressing")["message"].as_str().unwrap().to_owned();
            assert!(message.contains("admission webhook says no"), "{message}");
            api.faults().denied = None;
            ends(&api, "Succeeded").await;
        });
    }
}

#[test]
fn a_deleted_job_that_no_selector_has_is_let_go_when_its_time_is_over() {
    run(async {
        let api = FakeApi::default();
        let held = json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"finalizers": ["mapreduce.dev/cleanup", "theirs/too"]},
            "spec": {"input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"}},
        });
        api.store().create(("mapreducejobs".into(), "ns".into(), "wc".into()), held);
        let (context, watch) = (context(&api), Watch::default());
        let look = async |minutes| {
            let now = Timestamp::now() + SignedDuration::from_mins(minutes);
            stranded::release(&context, &watch, &[], now).await.unwrap()
        };
        assert_eq!(look(60).await, 0, "it isn't deleted");
        delete(&api, "mapreducejobs", "wc");
        assert_eq!(look(5).await, 0, "another operator may have it");
        assert_eq!(look(60).await, 1);
        let left = api.store().get("mapreducejobs", "wc").unwrap()["metadata"]["finalizers"].clone();
        assert_eq!(left, json!(["theirs/too"]));
        context.events.flush().await;
        assert_eq!(api.store().list("events", "ns", "", "reason=CleanupIncomplete").len(), 1);
    });
}

#[test]
fn a_job_that_cannot_be_read_and_is_deleted_is_let_go() {
    run(async {
        let api = FakeApi::default();
        let unreadable = json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"finalizers": ["mapreduce.dev/cleanup"]}, "spec": {"input": 3},
        });
        api.store().create(("mapreducejobs".into(), "ns".into(), "wc".into()), unreadable);
        let _operator = operator(&api);
        until(&api, "word of it", |api| {
            !api.store().list("events", "ns", "", "reason=Unreadable").is_empty()
        })
        .await;
        assert!(api.store().get("mapreducejobs", "wc").is_some());
        delete(&api, "mapreducejobs", "wc");
        until(&api, "its end", |api| api.store().get("mapreducejobs", "wc").is_none()).await;
    });
}

#[test]
fn a_job_whose_labels_somebody_took_is_found_again() {
    run(async {
        let api = FakeApi::default();
        let (_operator, _cluster) = (operator(&api), cluster(Cluster::new(&api).with("map", Run::Hang)));
        submit(&api, &json!({}));
        until(&api, "a map Job", |api| api.store().get("jobs", "wc-map").is_some()).await;
        {
            let mut store = api.store();
            let mut job = store.get("jobs", "wc-map").unwrap().clone();
            job["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("somebody");
            store.update("relabel", ("jobs".into(), "ns".into(), "wc-map".into()), job);
        }
        until(&api, "its labels", |api| {
            let store = api.store();
            store.get("jobs", "wc-map").unwrap()["metadata"]["labels"]["app.kubernetes.io/managed-by"]
                == "mapreduce-operator"
        })
        .await;
    });
}

#[test]
fn orphans_are_ended_where_their_namespace_is_deleted_and_their_job_is_gone() {
    run(async {
        let api = FakeApi::default();
        let namespace = |finalizers: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"finalizers": finalizers}});
        let at = ("namespaces".to_owned(), String::new(), "ns".to_owned());
        api.store().create(at.clone(), namespace(json!(["kubernetes"])));
        let operator = operator(&api);
        let _cluster = cluster(Cluster::new(&api).with("map", Run::Hang));
        submit(&api, &json!({}));
        until(&api, "a map Job", |api| api.store().get("jobs", "wc-map").is_some()).await;
        drop(operator);
        let (context, watch) = (context(&api), Watch::default());
        let look = async || orphans::end(&context, &watch).await.unwrap();
        let job = api.store().get("mapreducejobs", "wc").unwrap().clone();
        orphan(&api);
        assert_eq!(look().await, 0, "somebody wanted them to stay");
        api.store().delete(&at);
        api.store().objects.insert(("mapreducejobs".into(), "ns".into(), "wc".into()), job);
        assert_eq!(look().await, 0, "the job's own pass ends them");
        api.store().objects.remove(&("mapreducejobs".into(), "ns".into(), "wc".into()));
        assert_eq!(look().await, 2);
        assert!(api.store().list("jobs", "ns", "", "").is_empty());
    });
}

#[test]
fn a_process_that_stood_still_makes_nothing_for_a_job_that_it_read_before() {
    run(async {
        let api = FakeApi::default();
        submit(&api, &json!({}));
        let (context, jobs) = (context(&api), Api::<MapReduceJob>::namespaced(api.client(), "ns"));
        let job = jobs.get("wc").await.unwrap();
        let make = async |read| apply(&context, &job, read, ApiWrite::Create(Child::Plan, Size::ONE)).await;
        let written = make(context.now() - SignedDuration::from_secs(90)).await.unwrap();
        assert!(matches!(written, WriteOutcome::Stale), "{written:?}");
        assert!(api.store().get("jobs", "wc-plan").is_none());
        assert!(matches!(make(context.now()).await.unwrap(), WriteOutcome::Child));
        assert!(api.store().get("jobs", "wc-plan").is_some());
    });
}
