use std::time::Duration;

use mapreduce_api::v1alpha1::{MapReduceJob, Variable};
use serde_json::{Value, json};

use super::jobs::{Size, job};
use super::names::Child;
use super::revision::{Revision, digest_in, digest_of};
use crate::context::PodDefaults;

fn defaults() -> PodDefaults {
    PodDefaults {
        image: "worker:1".into(),
        image_pull_policy: "IfNotPresent".into(),
        image_pull_secrets: Vec::new(),
        service_account: None,
        resources: serde_json::from_value(json!({"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}))
            .unwrap(),
        lost_node_timeout: Duration::from_mins(1),
    }
}

fn resource(spec: &Value) -> MapReduceJob {
    let mut resource = json!({
        "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
        "metadata": {
            "name": "wc", "namespace": "ns", "uid": "u-1",
            "labels": {"kueue.x-k8s.io/queue-name": "q", "kueue.x-k8s.io/priority-class": "high", "team": "data"},
        },
        "spec": {
            "input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"},
            "map": {}, "reduce": {"function": {"builtin": {"name": "sum"}}},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        resource["spec"][key] = value.clone();
    }
    serde_json::from_value(resource).unwrap()
}

fn revision(spec: &Value) -> Revision {
    Revision::new(&resource(spec), &defaults()).unwrap()
}

fn built(spec: &Value, child: Child) -> Value {
    let size = Size { completions: 5, parallelism: 2 };
    serde_json::to_value(job(&resource(spec), &revision(spec), child, size, None).unwrap()).unwrap()
}

/// The pods' spec, and in it the worker container.
fn pods(spec: &Value, child: Child) -> (Value, Value) {
    let pods = built(spec, child)["spec"]["template"]["spec"].clone();
    let worker =
        pods["containers"].as_array().unwrap().iter().find(|c| c["name"] == "worker").unwrap().clone();
    (pods, worker)
}

#[test]
fn the_map_job_is_this_and_nothing_else() {
    let labels = |queue: bool| {
        let mut labels = json!({
            "app.kubernetes.io/managed-by": "mapreduce-operator", "app.kubernetes.io/name": "mapreduce",
            "mapreduce.dev/job": "wc", "mapreduce.dev/job-uid": "u-1", "mapreduce.dev/phase": "map",
        });
        if queue {
            labels["kueue.x-k8s.io/queue-name"] = json!("q");
            labels["kueue.x-k8s.io/priority-class"] = json!("high");
        }
        labels
    };
    let revision = revision(&json!({})).digest();
    let expected = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "wc-map", "namespace": "ns", "labels": labels(true),
            "annotations": {"mapreduce.dev/revision": revision},
            "ownerReferences": [{
                "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob", "name": "wc", "uid": "u-1",
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "completionMode": "Indexed", "completions": 5, "parallelism": 2,
            "backoffLimitPerIndex": 3, "maxFailedIndexes": 0, "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [3, 4]}},
            ]},
            "template": {
                "metadata": {"labels": labels(false)},
                "spec": {
                    "tolerations": [
                        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
                        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
                    ],
                    "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "worker", "image": "worker:1", "imagePullPolicy": "IfNotPresent",
                        "command": ["/mapreduce-worker"], "args": ["map", "--job", "/etc/mapreduce/job.json"],
                        "env": [
                            {"name": "TMPDIR", "value": "/scratch"},
                            {"name": "MAPREDUCE_ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
                            {"name": "MAPREDUCE_FAILED_BEFORE", "valueFrom": {"fieldRef": {
                                "fieldPath": "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"}}},
                            {"name": "MAPREDUCE_DISRUPTED_BEFORE", "valueFrom": {"fieldRef": {
                                "fieldPath": "metadata.annotations['batch.kubernetes.io/job-index-ignored-failure-count']"}}},
                            {"name": "MAPREDUCE_SCRATCH", "value": "/scratch"},
                            {"name": "MAPREDUCE_MEMORY_LIMIT",
                             "valueFrom": {"resourceFieldRef": {"containerName": "worker", "resource": "limits.memory"}}},
                            {"name": "MAPREDUCE_REVISION", "value": revision},
                            {"name": "MAPREDUCE_CLEANUP", "value": "Always"},
                        ],
                        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
                        "readinessProbe": {
                            "exec": {"command": ["/mapreduce-worker", "ready"]},
                            "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 1,
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [
                            {"name": "job", "mountPath": "/etc/mapreduce", "readOnly": true},
                            {"name": "scratch", "mountPath": "/scratch"},
                        ],
                    }],
                    "volumes": [
                        {"name": "job", "configMap": {"name": "wc-job", "items": [{"key": "job.json", "path": "job.json"}]}},
                        {"name": "scratch", "emptyDir": {}},
                    ],
                },
            },
        },
    });
    let built = built(&json!({}), Child::Map);
    assert_eq!(built, expected, "{}", serde_json::to_string_pretty(&built).unwrap());
}

#[test]
fn a_template_is_kept_and_what_the_worker_needs_is_laid_over_it() {
    let template = json!({
        "metadata": {"labels": {"team": "data", "kueue.x-k8s.io/queue-name": "q"}, "annotations": {"a": "b"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "schedulerName": "volcano",
            "priorityClassName": "low", "automountServiceAccountToken": true, "restartPolicy": "OnFailure",
            "initContainers": [{"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}],
            "containers": [
                {"name": "log", "image": "log:1"},
                {"name": "worker", "args": ["sleep"], "terminationMessagePath": "/tmp/said", "env": [{"name": "A", "value": "1"}, {"name": "TMPDIR", "value": "/t"}],
                 "envFrom": [{"configMapRef": {"name": "c"}}], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                 "resources": {"limits": {"memory": "128Mi"}}, "securityContext": {"readOnlyRootFilesystem": false}},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "scratch", "hostPath": {"path": "/nvme"}}],
        },
    });
    let spec = json!({"map": {"template": template}, "storage": {"s3": {"secretRef": {"name": "keys"}}}});
    let (pods, worker) = pods(&spec, Child::Map);
    for (field, value) in [
        ("nodeSelector", json!({"disk": "ssd"})),
        ("tolerations", json!([{"operator": "Exists"}])),
        ("schedulerName", json!("volcano")),
        ("priorityClassName", json!("low")),
        ("automountServiceAccountToken", json!(true)),
        ("restartPolicy", json!("Never")),
        ("initContainers", json!([{"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}])),
    ] {
        assert_eq!(pods[field], value, "{field}");
    }
    // A scratch volume of the user's own takes the place of ours.
    let scratch: Vec<&Value> =
        pods["volumes"].as_array().unwrap().iter().filter(|v| v["name"] == "scratch").collect();
    assert_eq!(scratch, [&json!({"name": "scratch", "hostPath": {"path": "/nvme"}})]);
    assert_eq!(worker["args"][0], "map");
    assert_eq!(worker["terminationMessagePath"], "/dev/termination-log");
    assert_eq!(worker["resources"], json!({"limits": {"memory": "128Mi"}}));
    assert_eq!(worker["securityContext"]["readOnlyRootFilesystem"], false);
    assert_eq!(worker["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(worker["envFrom"], json!([{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "keys"}}]));
    let value = |name: &str| {
        worker["env"].as_array().unwrap().iter().find(|e| e["name"] == name).map(|e| e["value"].clone())
    };
    assert_eq!((value("A"), value("TMPDIR")), (Some(json!("1")), Some(json!("/t"))));
    assert_eq!(worker["volumeMounts"].as_array().unwrap().len(), 3);
    let labels = built(&spec, Child::Map)["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!((&labels["team"], &labels["kueue.x-k8s.io/queue-name"]), (&json!("data"), &Value::Null));
}

#[test]
fn another_image_gets_the_worker_from_an_init_container() {
    for spec in [
        json!({"map": {"image": "python:3"}}),
        json!({"map": {"template": {"spec": {"containers": [{"name": "worker", "image": "python:3"}]}}}}),
    ] {
        let (pods, worker) = pods(&spec, Child::Map);
        assert_eq!(worker["image"], "python:3");
        assert_eq!(worker["command"], json!(["/mapreduce/bin/mapreduce-worker"]));
        let install = &pods["initContainers"][0];
        assert_eq!(install["image"], "worker:1");
        assert_eq!(
            install["command"],
            json!(["/mapreduce-worker", "install", "/mapreduce/bin/mapreduce-worker"])
        );
        // A quota asks every container for its limits.
        assert_eq!(install["resources"], json!({"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}}));
        let mount = &install["volumeMounts"][0];
        assert_eq!(
            worker["volumeMounts"][2],
            json!({"name": mount["name"], "mountPath": mount["mountPath"], "readOnly": true})
        );
    }
}

#[test]
fn without_a_memory_limit_the_node_s_memory_is_not_given_for_it() {
    let (_, worker) = pods(&json!({"map": {"resources": {"requests": {"memory": "1Gi"}}}}), Child::Map);
    assert_eq!(worker["resources"], json!({"requests": {"memory": "1Gi"}}));
    assert!(worker["env"].as_array().unwrap().iter().all(|e| e["name"] != "MAPREDUCE_MEMORY_LIMIT"));
}

#[test]
fn plan_and_cleanup_have_the_settings_of_map_and_reduce_its_own() {
    let spec = json!({
        "map": {"serviceAccountName": "m"},
        "reduce": {"function": {"builtin": {"name": "sum"}}, "serviceAccountName": "r"},
    });
    for (child, account) in
        [(Child::Plan, "m"), (Child::Map, "m"), (Child::Cleanup, "m"), (Child::Reduce, "r")]
    {
        let (pods, worker) = pods(&spec, child);
        assert_eq!(
            (&pods["serviceAccountName"], &worker["args"][0]),
            (&json!(account), &json!(child.word()))
        );
    }
}

#[test]
fn a_pod_has_what_its_functions_take_from_the_cluster_and_no_more() {
    let from = |key: &str| json!({"secretKeyRef": {"name": "s", "key": key}});
    let command = |key: &str| json!({"command": {"shell": "cat", "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": from(key)}]}});
    let reference = json!({"configMapKeyRef": {"name": "scripts", "key": "sum.py"}});
    let spec = json!({
        "map": {"function": command("map")},
        "combine": {"function": {"script": {"language": "python", "sourceFrom": reference}}},
        "reduce": {"function": command("reduce")},
    });
    for (child, keys, mounted) in [
        (Child::Plan, vec!["map", "reduce"], true),
        (Child::Map, vec!["map"], true),
        (Child::Reduce, vec!["reduce"], true),
        (Child::Cleanup, vec![], false),
    ] {
        let (pods, worker) = pods(&spec, child);
        let variables = worker["env"].as_array().unwrap();
        for key in ["map", "reduce"] {
            let name = Variable::pod_name(&from(key));
            let found = variables.iter().find(|v| v["name"] == name.as_str()).map(|v| &v["valueFrom"]);
            assert_eq!(found, keys.contains(&key).then_some(&from(key)), "{key} in {child:?}");
        }
        assert!(variables.iter().all(|v| v["name"] != "A" && v["name"] != "B"), "they are the command's");
        let volume =
            pods["volumes"].as_array().unwrap().iter().find(|v| v["name"] == "mapreduce-scripts").cloned();
        let expected = json!({"name": "mapreduce-scripts", "projected": {"sources": [{"configMap": {
            "name": "scripts", "items": [{"key": "sum.py", "path": "scripts/sum.py"}], "optional": true,
        }}]}});
        assert_eq!(volume, mounted.then_some(expected), "{child:?}");
        let folder = variables.iter().find(|v| v["name"] == "MAPREDUCE_CONFIG_MAPS").map(|v| &v["value"]);
        let mounts = worker["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|m| m["name"] == "mapreduce-scripts").map(|m| &m["mountPath"]);
        assert_eq!((folder.is_some(), folder), (mounted, mount));
    }
}

#[test]
fn a_cleanup_has_a_deadline_and_waits_in_no_queue() {
    let (resource, revision) = (resource(&json!({})), revision(&json!({})));
    let built = job(&resource, &revision, Child::Cleanup, Size::ONE, Some(Duration::from_mins(2))).unwrap();
    assert_eq!(built.spec.unwrap().active_deadline_seconds, Some(120));
    assert!(built.metadata.labels.unwrap().keys().all(|label| !label.starts_with("kueue")));
}

#[test]
fn of_a_map_task_that_a_job_may_go_on_without_one_more_pod_says_so() {
    for most in [json!(2), json!("1%")] {
        let spec = json!({"maxFailedTasks": most, "retries": 4});
        for (child, attempts) in [(Child::Map, 5), (Child::Reduce, 4), (Child::Plan, 4)] {
            assert_eq!(built(&spec, child)["spec"]["backoffLimitPerIndex"], attempts, "{child:?}");
        }
    }
}

#[test]
fn the_description_is_what_a_worker_reads_and_no_edit_changes_it() {
    let map = revision(&json!({"retries": 7})).config_map(&resource(&json!({}))).unwrap();
    assert_eq!(map.immutable, Some(true));
    assert_eq!(map.metadata.name.as_deref(), Some("wc-job"));
    let file: mapreduce_api::wire::JobFile = serde_json::from_str(&map.data.unwrap()["job.json"]).unwrap();
    assert_eq!((file.id.as_str(), file.name.as_str(), file.spec.retries), ("u-1", "wc", 7));
}

/// The template of a phase's pods, as a Job of this revision has it.
fn template(job_spec: &Value, revision: &Revision, child: Child) -> Value {
    let made = job(&resource(job_spec), revision, child, Size::ONE, None).unwrap();
    serde_json::to_value(made.spec.unwrap().template).unwrap()
}

#[test]
fn a_job_is_made_from_its_revision_whatever_the_resource_and_the_flags_say_by_then() {
    let begun = json!({"retries": 5});
    let config = revision(&begun).config_map(&resource(&begun)).unwrap();
    let edited = json!({
        "retries": 1, "map": {"image": "other:2"}, "storage": {"s3": {"secretRef": {"name": "keys"}}},
        "reduce": {"function": {"command": {"shell": "cat"}}, "serviceAccountName": "r"},
    });
    let flags = PodDefaults { image: "worker:2".into(), ..defaults() };
    let kept = Revision::read(&config, &resource(&edited), &flags).unwrap();
    assert_eq!(kept.digest(), digest_in(&config));
    for child in Child::ALL {
        let made = job(&resource(&edited), &kept, child, Size::ONE, None).unwrap();
        assert_eq!(made.spec.unwrap().backoff_limit_per_index, Some(5), "{child}");
        assert_eq!(template(&edited, &kept, child), template(&begun, &revision(&begun), child), "{child}");
    }
}

#[test]
fn what_an_older_operator_has_begun_is_run_as_its_description_says() {
    let begun = json!({"reduce": {"function": {"builtin": {"name": "sum"}}, "image": "python:3"}});
    let mut config = revision(&begun).config_map(&resource(&begun)).unwrap();
    config.data.as_mut().unwrap().remove("pods.json").unwrap();
    let kept = Revision::read(&config, &resource(&json!({})), &defaults()).unwrap();
    let pods = template(&json!({}), &kept, Child::Reduce);
    assert_eq!(pods, template(&begun, &revision(&begun), Child::Reduce));
    assert_eq!(pods["spec"]["containers"][0]["image"], "python:3");
}

#[test]
fn what_may_change_while_a_job_runs_is_in_no_revision() {
    let digest = |spec: &Value| digest_of(&resource(spec)).unwrap();
    let plain = digest(&json!({}));
    let steered = json!({"suspend": true, "activeDeadlineSeconds": 60, "pendingDeadlineSeconds": 60,
                         "ttlSecondsAfterFinished": 60});
    assert_eq!(digest(&steered), plain);
    for other in
        [json!({"retries": 1}), json!({"map": {"image": "other:2"}}), json!({"shuffle": {"url": "s3://b/"}})]
    {
        assert_ne!(digest(&other), plain, "{other}");
    }
}

#[test]
fn a_revision_has_the_pods_of_every_step() {
    let step = |name: &str, image: &str| json!({"name": name, "map": {"image": image}});
    let mut resource = resource(&json!({"steps": [step("a", "one:1"), step("b", "two:1")]}));
    let revision = Revision::new(&resource, &defaults()).unwrap();
    for (number, image) in [(1, "one:1"), (2, "two:1")] {
        resource.status =
            serde_json::from_value(json!({"step": {"name": "x", "number": number, "total": 2}})).unwrap();
        let made = job(&resource, &revision, Child::Map, Size::ONE, None).unwrap();
        assert_eq!(made.metadata.name, Some(format!("wc-{number}-map")));
        assert_eq!(made.spec.unwrap().template.spec.unwrap().containers[0].image.as_deref(), Some(image));
    }
}
