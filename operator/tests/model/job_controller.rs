//! The Job controller, for Indexed Jobs with `backoffLimitPerIndex`: what it does at each look at a Job.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::objects::{
    INDEX, JOB_UID, KUBELET, NAMESPACE, TRACKING, add_condition, find, has, index, is_deleting, is_held_by,
    is_terminal, key, name, of, owner, phase, uid, without_finalizer,
};
use crate::world::{SECOND, Time, World, now};

/// What is known of a Job beside its status.
#[derive(Default)]
pub(crate) struct Tracked {
    succeeded: BTreeSet<u64>,
    failed: BTreeSet<u64>,
    /// Failures of each task that count, and when the last one was.
    failures: BTreeMap<u64, (u32, Time)>,
    /// Pods that were judged.
    judged: BTreeSet<String>,
    /// Failed pods that are counted in the status.
    counted: i64,
    started: Option<Time>,
    ended: Option<Time>,
    pods_let_go: BTreeSet<String>,
    pods: u32,
    /// A pod that ends the Job.
    fatal: Option<String>,
}

impl World {
    /// A look at a Job.
    pub(crate) fn sync_job(&mut self, of_job: &str) {
        self.synced(of_job);
        let pods: Vec<Value> =
            of(&self.store, "pods").filter(|pod| owner(pod) == Some(of_job)).cloned().collect();
        let Some(job) = find(&self.store, "jobs", of_job).cloned() else {
            // Pods of a Job that is gone are let go.
            pods.iter().for_each(|pod| self.let_go(pod));
            return;
        };
        if has(&job, "Complete") || has(&job, "Failed") {
            pods.iter().for_each(|pod| self.let_go(pod));
            self.expire(&job);
            return;
        }
        let mut tracked = self.tracked.remove(of_job).unwrap_or_default();
        let new = self.look(&job, &mut tracked, &pods);
        self.tracked.insert(of_job.to_owned(), tracked);
        self.store.update("jobstatus", key("jobs", name(&job)), new);
    }

    /// A Job that has ended is deleted when its time is over.
    fn expire(&mut self, job: &Value) {
        let Some(ttl) = job["spec"]["ttlSecondsAfterFinished"].as_u64() else { return };
        let Some(tracked) = self.tracked.get_mut(uid(job)) else { return };
        let end = *tracked.ended.get_or_insert_with(now) + ttl * SECOND;
        if end <= now() {
            self.store.delete(&key("jobs", name(job)));
        } else {
            self.at(end, crate::world::Event::Sync(uid(job).to_owned()));
        }
    }

    fn let_go(&mut self, pod: &Value) {
        if is_held_by(pod, TRACKING) && (is_terminal(pod) || is_deleting(pod)) {
            self.change("untrack", &key("pods", name(pod)), |pod| without_finalizer(pod, TRACKING));
        }
    }

    /// Counts pods that have ended, ends and makes others; the Job as it is then.
    fn look(&mut self, old: &Value, tracked: &mut Tracked, pods: &[Value]) -> Value {
        let mut job = old.clone();
        self.uncounted(&mut job, tracked, pods);
        for pod in pods.iter().filter(|pod| is_terminal(pod) && is_held_by(pod, TRACKING)) {
            judge(old, tracked, pod, now());
        }
        let failing = failing(old, tracked, now());
        if let Some((reason, message)) = failing.as_ref().filter(|_| !has(old, "FailureTarget")) {
            add_condition(&mut job, "FailureTarget", reason, message, &Self::time_text());
        }
        self.let_go_ended(&mut job, tracked, pods, failing.is_some());
        let left = self.scale(&mut job, tracked, pods, failing.is_some());
        conclude(&mut job, old, tracked, failing, left);
        job
    }

    /// The second half of counting pods: they are let go before they are counted.
    fn uncounted(&mut self, job: &mut Value, tracked: &mut Tracked, pods: &[Value]) {
        let uncounted = job["status"].as_object_mut().and_then(|s| s.remove("uncountedTerminatedPods"));
        let Some(uids) = uncounted.as_ref().and_then(|u| u["failed"].as_array()) else { return };
        for pod in pods.iter().filter(|pod| uids.iter().any(|u| u == uid(pod))) {
            self.let_go(pod);
            tracked.pods_let_go.insert(uid(pod).to_owned());
        }
        tracked.counted += uids.len() as i64;
        job["status"]["failed"] = json!(tracked.counted);
    }

    /// The first half: a pod that has failed is kept until there is another for its task.
    fn let_go_ended(&mut self, job: &mut Value, tracked: &Tracked, pods: &[Value], ends: bool) {
        let newer = |pod: &Value| pods.iter().any(|p| index(p) == index(pod) && number(p) > number(pod));
        let mut uncounted = Vec::new();
        for pod in pods.iter().filter(|pod| is_terminal(pod) && is_held_by(pod, TRACKING)) {
            let task = index(pod);
            let good = pod["status"]["phase"] == "Succeeded";
            let replaced = newer(pod) || tracked.failed.contains(&task) || tracked.succeeded.contains(&task);
            let free = good || ends || replaced || is_deleting(job);
            if !free || tracked.pods_let_go.contains(uid(pod)) {
                continue;
            }
            if good || ignored(job, pod) {
                self.let_go(pod);
            } else {
                uncounted.push(uid(pod).to_owned());
            }
        }
        if !uncounted.is_empty() {
            job["status"]["uncountedTerminatedPods"] = json!({"failed": uncounted});
        }
    }

    /// Makes and ends pods; how many are active or ending then.
    fn scale(&mut self, job: &mut Value, tracked: &mut Tracked, pods: &[Value], ends: bool) -> usize {
        let suspended = job["spec"]["suspend"] == true;
        let is_active = |pod: &&Value| !is_terminal(pod) && !is_deleting(pod);
        let mut active: Vec<&Value> = pods.iter().filter(is_active).collect();
        let mut terminating = pods.iter().filter(|pod| !is_terminal(pod) && is_deleting(pod)).count();
        let mut made = 0;
        if suspended || ends {
            terminating += active.len();
            for pod in active.drain(..) {
                self.end_active(pod, suspended && !ends);
            }
            if suspended && !ends {
                tracked.started = None;
                job["status"]["startTime"] = Value::Null;
            }
        } else {
            let started = *tracked.started.get_or_insert_with(now);
            if job["status"]["startTime"].is_null() {
                job["status"]["startTime"] = json!(Self::time_text());
            }
            if let Some(limit) = job["spec"]["activeDeadlineSeconds"].as_u64() {
                let end = started + limit * SECOND;
                if end > now() {
                    self.at(end, crate::world::Event::Sync(uid(job).to_owned()));
                }
            }
            let parallelism = job["spec"]["parallelism"].as_u64().unwrap_or(1) as usize;
            for pod in active.drain(parallelism.min(active.len())..) {
                terminating += 1;
                self.end_active(pod, true);
            }
            if !is_deleting(job) {
                made = self.make(job, tracked, pods, active.len());
            }
        }
        let ready = active.iter().filter(|pod| pod["status"]["phase"] == "Running").count();
        job["status"]["active"] = json!(active.len() + made);
        job["status"]["ready"] = json!(ready);
        job["status"]["terminating"] = json!(terminating);
        job["status"]["succeeded"] = json!(tracked.succeeded.len());
        active.len() + made + terminating
    }

    /// Ends a pod, uncounted where it is not its fault.
    fn end_active(&mut self, pod: &Value, uncounted: bool) {
        let at = key("pods", name(pod));
        if uncounted {
            self.change("untrack", &at, |pod| without_finalizer(pod, TRACKING));
        }
        self.delete_pod(&at);
    }

    /// Makes pods for the lowest tasks that have none, and says how many.
    fn make(&mut self, job: &Value, tracked: &mut Tracked, pods: &[Value], active: usize) -> usize {
        let parallelism = job["spec"]["parallelism"].as_u64().unwrap_or(1) as usize;
        let completions = job["spec"]["completions"].as_u64().unwrap_or(1);
        let mut made = 0;
        for task in 0..completions {
            if active + made >= parallelism {
                break;
            }
            // Not before the old pod has ended: podReplacementPolicy is Failed.
            let has_pod = pods.iter().any(|pod| index(pod) == task && !is_terminal(pod));
            if has_pod || tracked.succeeded.contains(&task) || tracked.failed.contains(&task) {
                continue;
            }
            let (failures, last) = tracked.failures.get(&task).copied().unwrap_or_default();
            if failures > 0 {
                let again = last + ((10 * SECOND) << (failures - 1).min(6)).min(600 * SECOND);
                if again > now() {
                    self.after(again - now(), crate::world::Event::Sync(uid(job).to_owned()));
                    continue;
                }
            }
            if self.namespace_is_terminating() {
                break;
            }
            tracked.pods += 1;
            self.make_pod(job, task, tracked.pods);
            made += 1;
        }
        made
    }

    fn make_pod(&mut self, job: &Value, task: u64, number: u32) {
        let at = key("pods", &format!("{}-{task}-{number}", name(job)));
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "labels": {JOB_UID: uid(job), "mapreduce.dev/phase": phase(job), "mapreduce.dev/job": job["metadata"]["labels"]["mapreduce.dev/job"]},
                "annotations": {INDEX: task.to_string(), "number": number.to_string()},
                "finalizers": [TRACKING, KUBELET],
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": name(job), "uid": uid(job), "controller": true, "blockOwnerDeletion": true}],
            },
            "spec": {"containers": [{"name": "worker"}]},
            "status": {"phase": "Pending"},
        });
        let pod = self.store.create(at, pod);
        debug_assert_eq!(pod["metadata"]["namespace"], NAMESPACE);
        self.begin_pod(&pod, job);
    }
}

fn number(pod: &Value) -> u64 {
    pod["metadata"]["annotations"]["number"].as_str().and_then(|n| n.parse().ok()).unwrap_or_default()
}

fn exit_code(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64().unwrap_or(137)
}

fn rule(job: &Value, pod: &Value) -> Option<String> {
    let matches = |rule: &&Value| match rule["onPodConditions"][0]["type"].as_str() {
        Some(condition) => has(pod, condition),
        None => rule["onExitCodes"]["values"]
            .as_array()
            .is_some_and(|codes| codes.iter().any(|code| *code == exit_code(pod))),
    };
    let rules = job["spec"]["podFailurePolicy"]["rules"].as_array()?;
    Some(rules.iter().find(matches)?["action"].as_str()?.to_owned())
}

fn ignored(job: &Value, pod: &Value) -> bool {
    pod["status"]["phase"] == "Failed" && rule(job, pod).as_deref() == Some("Ignore")
}

/// What the end of a pod means, once.
fn judge(job: &Value, tracked: &mut Tracked, pod: &Value, at: Time) {
    if !tracked.judged.insert(uid(pod).to_owned()) {
        return;
    }
    let task = index(pod);
    if pod["status"]["phase"] == "Succeeded" {
        tracked.succeeded.insert(task);
        return;
    }
    match rule(job, pod).as_deref() {
        Some("Ignore") => {}
        Some("FailJob") => tracked.fatal = Some(name(pod).to_owned()),
        _ => {
            let (failures, last) = tracked.failures.entry(task).or_default();
            *failures += 1;
            *last = at;
            if i64::from(*failures) > job["spec"]["backoffLimitPerIndex"].as_i64().unwrap_or(6) {
                tracked.failed.insert(task);
            }
        }
    }
}

/// Ends a Job that has failed or has nothing left to do, once it has no pods.
fn conclude(job: &mut Value, old: &Value, tracked: &Tracked, failing: Option<(String, String)>, pods: usize) {
    let text = World::time_text();
    let quiet = pods == 0 && job["status"]["uncountedTerminatedPods"].is_null();
    if let Some((reason, message)) = failing {
        if has(old, "FailureTarget") && quiet {
            add_condition(job, "Failed", &reason, &message, &text);
        }
    } else if tracked.succeeded.len() as u64 >= old["spec"]["completions"].as_u64().unwrap_or(1) {
        if !has(old, "SuccessCriteriaMet") {
            add_condition(job, "SuccessCriteriaMet", "CompletionsReached", "", &text);
        } else if quiet {
            let message = "Reached expected number of succeeded pods";
            add_condition(job, "Complete", "CompletionsReached", message, &text);
            job["status"]["completionTime"] = json!(text);
        }
    }
}

/// Why a Job fails, if it does.
fn failing(job: &Value, tracked: &Tracked, at: Time) -> Option<(String, String)> {
    let told =
        job["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "FailureTarget");
    if let Some(told) = told {
        let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        return Some((text("reason"), text("message")));
    }
    if has(job, "SuccessCriteriaMet") {
        return None;
    }
    let because = |reason: &str, message: String| Some((reason.to_owned(), message));
    if let Some(pod) = &tracked.fatal {
        return because(
            "PodFailurePolicy",
            format!(
                "Container worker for pod ns/{pod} failed with exit code 3 matching FailJob rule at index 1"
            ),
        );
    }
    let limit = job["spec"]["activeDeadlineSeconds"].as_u64();
    if let (Some(limit), Some(started), false) = (limit, tracked.started, job["spec"]["suspend"] == true)
        && at >= started + limit * SECOND
    {
        return because("DeadlineExceeded", "Job was active longer than specified deadline".to_owned());
    }
    let most = job["spec"]["maxFailedIndexes"].as_u64().unwrap_or(u64::MAX);
    (tracked.failed.len() as u64 > most).then(|| {
        (
            "MaxFailedIndexesExceeded".to_owned(),
            "Job has exceeded the specified maximal number of failed indexes".to_owned(),
        )
    })
}
