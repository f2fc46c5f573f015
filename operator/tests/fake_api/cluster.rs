//! The part of a cluster that the operator relies on: Jobs get pods, pods end, what is deleted goes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::FakeApi;
use super::store::{Key, Store, now};

/// What the pods of a Job do.
#[derive(Clone)]
pub(crate) enum Run {
    /// Each says this and ends well.
    Succeed(Value),
    /// One says this and ends with that code, and with it the Job.
    Fail(Value, i32),
    /// They run on.
    Hang,
    /// They run, and the probe of the first fails with this.
    Unready(&'static str),
    /// They never start.
    Pending,
}

/// What is planned for each phase.
#[derive(Clone)]
pub(crate) struct Cluster {
    api: FakeApi,
    pub(crate) runs: BTreeMap<&'static str, Run>,
}

/// How a plan ends that found 3 map and 2 reduce tasks.
pub(crate) fn planned() -> Value {
    json!({"planned": {"mapTasks": 3, "reduceTasks": 2, "partitions": 2, "inputObjects": 1, "inputBytes": 10}})
}

/// How the last task ends.
pub(crate) fn finished() -> Value {
    json!({"finished": {"counters": {"reduceOutputRecords": 7}, "parts": 2, "records": 7, "committed": true}})
}

impl Cluster {
    /// Every phase ends well.
    pub(crate) fn new(api: &FakeApi) -> Self {
        let runs = BTreeMap::from([
            ("plan", Run::Succeed(planned())),
            ("map", Run::Succeed(json!("done"))),
            ("reduce", Run::Succeed(finished())),
            ("cleanup", Run::Succeed(json!("done"))),
        ]);
        Self { api: api.clone(), runs }
    }

    /// With one phase, or the Job of a name, doing this instead.
    pub(crate) fn with(mut self, phase: &'static str, run: Run) -> Self {
        self.runs.insert(phase, run);
        self
    }

    /// Goes on until dropped.
    pub(crate) async fn run(self) {
        loop {
            self.turn();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn turn(&self) {
        let mut store = self.api.store();
        collect_garbage(&mut store);
        for job in store.list("jobs", "", "", "") {
            if !job["metadata"]["deletionTimestamp"].is_null() {
                remove(&mut store, job);
            } else if job["status"]["conditions"].as_array().is_none_or(Vec::is_empty) {
                self.advance(&mut store, job);
            }
        }
    }

    fn advance(&self, store: &mut Store, mut job: Value) {
        let key = key("jobs", &job);
        let completions = job["spec"]["completions"].as_u64().unwrap();
        let phase = job["metadata"]["labels"]["mapreduce.dev/phase"].as_str().unwrap().to_owned();
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        let Some(run) = self.runs.get(name.as_str()).or_else(|| self.runs.get(phase.as_str())) else {
            return;
        };
        if job["spec"]["suspend"] == true {
            remove_pods(store, &job);
            job["status"] = json!({"active": 0, "ready": 0});
            store.update("jobstatus", key, job);
            return;
        }
        if !job["spec"]["activeDeadlineSeconds"].is_null() && !["report", "cleanup"].contains(&phase.as_str())
        {
            remove_pods(store, &job);
            job["status"] =
                json!({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]});
            store.update("jobstatus", key, job);
            return;
        }
        job["status"]["startTime"] = json!(now());
        let condition =
            |kind: &str| json!([{"type": kind, "status": "True", "reason": "Said", "message": "so"}]);
        match run {
            Run::Succeed(words) => {
                (0..completions).for_each(|i| pod(store, &job, i, "Succeeded", Some((words, 0))));
                job["status"]["succeeded"] = json!(completions);
                job["status"]["conditions"] = condition("Complete");
            }
            Run::Fail(words, code) => {
                pod(store, &job, 0, "Failed", Some((words, *code)));
                job["status"]["failed"] = json!(1);
                job["status"]["conditions"] = condition("Failed");
            }
            Run::Hang => {
                (0..completions).for_each(|i| pod(store, &job, i, "Running", None));
                job["status"]["active"] = json!(completions);
                job["status"]["ready"] = json!(completions);
            }
            Run::Unready(probe) => {
                (0..completions).for_each(|i| pod(store, &job, i, "Running", None));
                job["status"]["active"] = json!(completions);
                job["status"]["ready"] = json!(completions - 1);
                tell_of_probe(store, &format!("{name}-0"), probe);
            }
            Run::Pending => {
                (0..completions).for_each(|i| pod(store, &job, i, "Pending", None));
                job["status"]["active"] = json!(completions);
                job["status"]["ready"] = json!(0);
            }
        }
        store.update("jobstatus", key, job);
    }
}

/// A kubelet says so of a pod whose worker runs and isn't ready.
fn tell_of_probe(store: &mut Store, pod: &str, says: &str) {
    let key: Key = ("pods".into(), "ns".into(), pod.into());
    let mut pod = store.objects[&key].clone();
    let uid = pod["metadata"]["uid"].clone();
    pod["status"]["containerStatuses"] = json!([{
        "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
    }]);
    store.update("podstatus", key, pod);
    let event: Key = ("events".into(), "ns".into(), "unready".into());
    if !store.objects.contains_key(&event) {
        let note = format!("Readiness probe failed: {says}\n");
        let told = json!({
            "metadata": {}, "type": "Warning", "reason": "Unhealthy", "note": note, "regarding": {"uid": uid},
        });
        store.create(event, told);
    }
}

/// Holds an object that is deleted with `--cascade=foreground` until nothing is left that it owns.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

fn key(resource: &str, object: &Value) -> Key {
    let text = |name: &str| object["metadata"][name].as_str().unwrap().to_owned();
    (resource.to_owned(), text("namespace"), text("name"))
}

fn pod(store: &mut Store, job: &Value, index: u64, phase: &str, end: Option<(&Value, i32)>) {
    let name = format!("{}-{index}", job["metadata"]["name"].as_str().unwrap());
    let mut status = json!({"phase": phase});
    if let Some((words, code)) = end {
        status["containerStatuses"] = json!([{
            "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "message": words.to_string()}},
        }]);
    } else if phase == "Pending" {
        status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]);
    }
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "labels": {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"],
                                 "uid": job["metadata"]["uid"], "controller": true}],
        },
        "spec": job["spec"]["template"]["spec"], "status": status,
    });
    let key = ("pods".to_owned(), job["metadata"]["namespace"].as_str().unwrap().to_owned(), name);
    if !store.objects.contains_key(&key) {
        store.create(key, object);
    }
}

fn remove_pods(store: &mut Store, job: &Value) {
    let uid = job["metadata"]["uid"].as_str().unwrap();
    for pod in store.list("pods", "", &format!("batch.kubernetes.io/controller-uid={uid}"), "") {
        if pod["status"]["phase"] == "Running" || pod["status"]["phase"] == "Pending" {
            store.delete(&key("pods", &pod));
        }
    }
}

fn remove(store: &mut Store, mut job: Value) {
    let uid = job["metadata"]["uid"].as_str().unwrap();
    for pod in store.list("pods", "", &format!("batch.kubernetes.io/controller-uid={uid}"), "") {
        store.delete(&key("pods", &pod));
    }
    job["metadata"]["finalizers"] = json!([]);
    store.update("collect", key("jobs", &job), job);
}

/// Removes what has an owner that is gone, or that is being deleted in the foreground.
fn collect_garbage(store: &mut Store) {
    for mut owner in store.list("mapreducejobs", "", "", "") {
        let finalizers = owner["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        if !finalizers.contains(&json!(FOREGROUND)) || owner["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let uid = owner["metadata"]["uid"].clone();
        let mut owned = 0;
        for resource in ["jobs", "configmaps"] {
            for child in store.list(resource, "", "", "") {
                if child["metadata"]["ownerReferences"][0]["uid"] == uid {
                    owned += 1;
                    store.delete(&key(resource, &child));
                }
            }
        }
        if owned == 0 {
            let others: Vec<&Value> = finalizers.iter().filter(|f| *f != FOREGROUND).collect();
            owner["metadata"]["finalizers"] = json!(others);
            store.update("collect", key("mapreducejobs", &owner), owner);
        }
    }
    for resource in ["jobs", "configmaps"] {
        for child in store.list(resource, "", "", "") {
            let Some(uid) = child["metadata"]["ownerReferences"][0]["uid"].as_str() else { continue };
            let owned =
                store.list("mapreducejobs", "", "", "").iter().any(|job| job["metadata"]["uid"] == uid);
            if !owned {
                store.delete(&key(resource, &child));
            }
        }
    }
}
