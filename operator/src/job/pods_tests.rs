use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mapreduce_api::wire::Termination;
use serde_json::{Value, json};

use super::{Pending, is_of, quota_remedy, rank, sidecar_goes_on, termination, worker_succeeded};
use crate::job::build::names::Child;
use crate::job::observed::{Failure, Reason, Stuck};

fn failure(child: Child, path: &str, failed: &[Pod], job_says: &str) -> Failure {
    super::failure(child, path, failed.iter().max_by_key(|pod| rank(pod)), job_says)
}

/// Since when the one has waited that has waited longest, and what keeps one from starting.
fn longest_pending(pods: &[Pod]) -> Option<(Timestamp, Option<Stuck>)> {
    let mut pending = Pending::default();
    pods.iter().for_each(|pod| pending.add(pod.clone()));
    Some((pending.since()?, pending.stuck()))
}

fn pod(name: &str, status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}]},
        "status": status,
    }))
    .unwrap()
}

fn ended(name: &str, terminated: &Value) -> Pod {
    pod(
        name,
        &json!({"phase": "Failed", "containerStatuses": [
            {"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": terminated}},
        ]}),
    )
}

fn reported(name: &str, second: u32, report: &Value) -> Pod {
    let message = json!({"failed": report}).to_string();
    let at = format!("2026-01-01T00:00:{second:02}Z");
    ended(name, &json!({"exitCode": 1, "reason": "Error", "message": message, "finishedAt": at}))
}

#[test]
fn the_report_of_a_task_is_told_with_its_record_and_the_whole_traceback() {
    let report = json!({
        "message": "the map function failed", "task": "map-00003",
        "causes": ["Traceback (most recent call last):\n  line 1\nValueError: nope"],
        "record": {"url": "s3://b/x", "offset": 7},
    });
    let told = failure(Child::Map, "spec", &[reported("p", 1, &report)], "");
    assert_eq!(told.reason, Reason::TaskFailed);
    assert_eq!(
        told.message,
        "map-00003: the map function failed\nat the record at offset 7 of s3://b/x\n\
         Traceback (most recent call last):\n  line 1\nValueError: nope\n(pod p)"
    );
}

#[test]
fn of_several_pods_the_permanent_fault_is_told_then_the_newest_report() {
    let old = reported("old", 1, &json!({"message": "old"}));
    let new = reported("new", 9, &json!({"message": "new"}));
    let mute = ended("mute", &json!({"exitCode": 1, "finishedAt": "2026-01-01T00:00:59Z"}));
    let told = failure(Child::Map, "spec", &[new.clone(), old.clone(), mute.clone()], "");
    assert!(told.message.starts_with("new"), "{}", told.message);
    let fixed = reported("fixed", 0, &json!({"message": "output exists", "permanent": true}));
    let told = failure(Child::Plan, "spec", &[new, fixed, old, mute], "");
    assert!(told.message.starts_with("output exists"), "{}", told.message);
    assert_eq!(told.reason, Reason::PlanFailed);
}

#[test]
fn a_pod_that_the_cluster_ended_is_not_blamed_while_another_failed_by_itself() {
    let mut drained = reported("drained", 9, &json!({"message": "drained"}));
    drained.status.as_mut().unwrap().conditions =
        serde_json::from_value(json!([{"type": "DisruptionTarget", "status": "True"}])).unwrap();
    let own = ended("own", &json!({"exitCode": 7}));
    assert!(failure(Child::Map, "spec", &[drained, own], "").message.contains("exited with code 7"));
}

#[test]
fn a_container_that_used_too_much_memory_is_told_with_the_remedy() {
    let killed = ended("p", &json!({"exitCode": 137, "reason": "OOMKilled"}));
    let told = failure(Child::Reduce, "spec", std::slice::from_ref(&killed), "");
    assert_eq!(told.reason, Reason::OutOfMemory);
    assert_eq!(
        told.message,
        "container worker of pod p was killed for using more memory than its limit of 1Gi: \
         raise spec.reduce.resources.limits.memory\n(pod p)"
    );
    assert!(
        failure(Child::Plan, "spec.steps[1]", &[killed], "").message.contains("spec.steps[1].map.resources")
    );
}

#[test]
fn a_command_that_was_killed_for_its_memory_is_told_so_although_its_worker_goes_on() {
    let message = json!({"failed": {"message": "the map command was killed by signal 9"}}).to_string();
    let killed = ended("p", &json!({"exitCode": 1, "reason": "OOMKilled", "message": message}));
    let told = failure(Child::Map, "spec", &[killed], "");
    assert_eq!(told.reason, Reason::OutOfMemory);
    assert!(
        told.message.contains("raise spec.map.resources.limits.memory\nthe map command"),
        "{}",
        told.message
    );
}

#[test]
fn a_worker_that_said_nothing_is_told_by_how_it_ended_and_what_it_wrote_last() {
    let coded = ended("p", &json!({"exitCode": 7, "reason": "Error", "message": "a last line\n"}));
    assert_eq!(
        failure(Child::Map, "spec", &[coded], "").message,
        "container worker exited with code 7; it wrote last:\na last line\n(pod p)"
    );
    let signalled = ended("p", &json!({"exitCode": 139, "reason": "Error"}));
    assert_eq!(
        failure(Child::Map, "spec", &[signalled], "").message,
        "container worker was ended by signal 11\n(pod p)"
    );
    let mut killed = ended("p", &json!({"exitCode": 137, "reason": "Error"}));
    killed.metadata.annotations = serde_json::from_value(json!({
        "batch.kubernetes.io/job-completion-index": "17", "batch.kubernetes.io/job-index-failure-count": "2",
    }))
    .unwrap();
    assert_eq!(
        failure(Child::Reduce, "spec", std::slice::from_ref(&killed), "").message,
        "container worker was ended by signal 9 (SIGKILL), most often for want of memory: \
         raise spec.reduce.resources.limits.memory\n(pod p, task 17, attempt 3)"
    );
    killed.status.as_mut().unwrap().conditions =
        serde_json::from_value(json!([{"type": "DisruptionTarget", "status": "True"}])).unwrap();
    assert!(!failure(Child::Reduce, "spec", &[killed], "").message.contains("memory"), "it was drained");
    let told = failure(Child::Map, "spec", &[], "PodFailurePolicy: exit code 3");
    assert!(
        told.message.ends_with("no pod is left to say why: PodFailurePolicy: exit code 3"),
        "{}",
        told.message
    );
}

#[test]
fn a_message_is_bounded() {
    let report = json!({"message": "x", "causes": ["é".repeat(20_000)]});
    let told = failure(Child::Map, "spec", &[reported("p", 1, &report)], "");
    assert!(told.message.len() <= 16 << 10 && told.message.ends_with('…'));
}

#[test]
fn what_keeps_a_pod_from_starting_is_told_in_the_cluster_s_words() {
    let waiting = |reason: &str| {
        json!({"phase": "Pending", "containerStatuses": [
            {"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": reason, "message": "no such image"}}},
        ]})
    };
    let unschedulable = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
    ]});
    let cases = [
        (
            waiting("ImagePullBackOff"),
            Some(("ImagePullBackOff", "container worker of pod p can't start: no such image")),
        ),
        (
            waiting("ErrImagePull"),
            Some(("ImagePullBackOff", "container worker of pod p can't start: no such image")),
        ),
        (
            waiting("CreateContainerConfigError"),
            Some(("CreateContainerConfigError", "container worker of pod p can't start: no such image")),
        ),
        (unschedulable, Some(("Unschedulable", "pod p can't be scheduled: 0/3 nodes are available"))),
        (waiting("ContainerCreating"), None),
        (waiting("PodInitializing"), None),
    ];
    for (status, expected) in cases {
        let expected = expected.map(|(r, m)| Stuck { reason: r.to_owned(), message: m.to_owned() });
        let (since, stuck) = longest_pending(&[pod("p", &status)]).unwrap();
        assert_eq!(since.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(stuck, expected);
    }
    assert_eq!(longest_pending(&[]), None);
}

#[test]
fn no_number_that_a_pod_reports_is_too_large_for_the_api_server() {
    let said = format!(
        r#"{{"finished":{{"counters":{{"mapInputRecords":{}}},"parts":2,"committed":true}}}}"#,
        u64::MAX
    );
    let Some(Termination::Finished(summary)) = termination(&said) else { panic!("{said}") };
    assert_eq!(summary.counters.map_input_records, u64::try_from(i64::MAX).unwrap());
    assert_eq!(summary.parts, 2);
}

#[test]
fn a_pod_that_only_bears_a_job_s_label_is_not_asked() {
    let mut pod = pod("p", &json!({}));
    assert!(!is_of(&pod, "j"));
    let owner =
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": "wc-map", "uid": "j", "controller": true});
    pod.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
    assert!(is_of(&pod, "j") && !is_of(&pod, "other"));
}

#[test]
fn an_evicted_pod_names_the_limit_to_raise() {
    let mut evicted = reported("p", 1, &json!({"message": "cancelled"}));
    let status = evicted.status.as_mut().unwrap();
    status.reason = Some("Evicted".into());
    status.message =
        Some("Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ".into());
    let told = failure(Child::Reduce, "spec", &[evicted], "");
    assert_eq!(
        told.message,
        "the node evicted pod p: Pod ephemeral local storage usage exceeds the total limit of containers 1Gi: raise \
         spec.reduce.resources.limits.ephemeral-storage\ncancelled\n(pod p)"
    );
}

#[test]
fn a_failure_names_the_node_the_task_and_the_attempt() {
    let mut failed = reported("p", 1, &json!({"message": "no"}));
    failed.spec.as_mut().unwrap().node_name = Some("n1".into());
    failed.metadata.annotations = Some(
        [
            ("batch.kubernetes.io/job-completion-index", "3"),
            ("batch.kubernetes.io/job-index-failure-count", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    );
    let told = failure(Child::Map, "spec", &[failed], "");
    assert_eq!(told.message, "no\n(pod p on node n1, task 3, attempt 2)");
}

#[test]
fn a_container_that_goes_on_after_the_worker_is_named_with_the_remedy() {
    let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z").parse::<Timestamp>().unwrap();
    let status = |worker: &Value| {
        json!({"phase": "Running", "containerStatuses": [
            {"name": "proxy", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": worker},
        ]})
    };
    let done =
        pod("p", &status(&json!({"terminated": {"exitCode": 0, "finishedAt": "2026-01-01T00:00:10Z"}})));
    let grace = SignedDuration::from_secs(15);
    assert_eq!(sidecar_goes_on(&done, at(20), grace), None);
    let stuck = sidecar_goes_on(&done, at(25), grace).unwrap();
    assert_eq!(stuck.reason, "SidecarRunning");
    assert!(
        stuck.message.contains("container proxy of pod p") && stuck.message.contains("restartPolicy: Always")
    );
    assert!(worker_succeeded(&done));
    let works = pod("p", &status(&json!({"running": {}})));
    assert!(sidecar_goes_on(&works, at(59), grace).is_none() && !worker_succeeded(&works));
}

#[test]
fn a_quota_that_asks_for_limits_is_told_with_what_to_set() {
    let refusal = |wanted: &str| {
        format!("Error creating: pods \"wc-map-0-x\" is forbidden: failed quota: q: must specify {wanted}")
    };
    let remedy = |wanted: &str, child| quota_remedy(&refusal(wanted), child, "spec");
    assert_eq!(
        remedy("limits.cpu for: install-worker,worker", Child::Map).unwrap(),
        "set spec.map.resources.limits.cpu, or for all jobs the chart's worker.resources.limits.cpu"
    );
    assert_eq!(
        remedy("limits.cpu for: worker; requests.memory for: worker", Child::Reduce).unwrap(),
        "set spec.reduce.resources.limits.cpu and spec.reduce.resources.requests.memory, or for all jobs the chart's \
         worker.resources.limits.cpu"
    );
    // As Kubernetes 1.20 says it, and the short names of requests.
    assert!(remedy("cpu,limits.memory", Child::Plan).unwrap().contains("spec.map.resources.requests.cpu"));
    let step = quota_remedy(&refusal("limits.cpu for: worker"), Child::Map, "spec.steps[1]").unwrap();
    assert!(step.starts_with("set spec.steps[1].map.resources.limits.cpu,"), "{step}");
    for other in ["exceeded quota: q, requested: pods=1", "must specify count/widgets"] {
        assert_eq!(
            quota_remedy(&refusal(other).replace("must specify exceeded", "exceeded"), Child::Map, "spec"),
            None,
            "{other}"
        );
    }
}

#[test]
fn a_task_that_failed_in_its_planner_s_pod_is_a_task_that_failed() {
    let report = json!({"message": "the map function failed", "task": "map-00000"});
    assert_eq!(failure(Child::Plan, "spec", &[reported("p", 1, &report)], "").reason, Reason::TaskFailed);
    let report = json!({"message": "no such bucket"});
    assert_eq!(failure(Child::Plan, "spec", &[reported("p", 1, &report)], "").reason, Reason::PlanFailed);
}
