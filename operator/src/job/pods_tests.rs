use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{failure, longest_pending};
use crate::job::build::names::Child;
use crate::job::observed::{Reason, Stuck};

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
         raise spec.reduce.resources.limits.memory"
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
