//! The kubelet: pods wait, run, end and say why; nodes are lost.

use serde_json::{Value, json};

use crate::fake_api::store::Key;
use crate::objects::{
    KUBELET, add_condition, find, has, index, is_deleting, is_held_by, is_terminal, job_of, key, name,
    node_key, of, owner, phase, uid, without_finalizer,
};
use crate::world::{Event, MINUTE, SECOND, Time, World, now};

/// What becomes of a pod.
pub(crate) struct PodPlan {
    /// Why it doesn't start, until when.
    stuck: Option<(Stuck, Time)>,
    /// How long it runs.
    runs: Time,
    end: End,
    started: Option<Time>,
    node: Option<usize>,
    /// When it has ended, once it is told to.
    ends_at: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stuck {
    Image,
    Unschedulable,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    Code(u8),
    /// It has done what it does, and nobody hears of it.
    Silent,
    OutOfMemory,
    Disrupted,
}

impl World {
    /// The scheduler and the kubelet have got a pod.
    pub(crate) fn begin_pod(&mut self, pod: &Value, job: &Value) {
        let (random, at) = (&mut self.random, now());
        let healthy = self.fault_rate == 0;
        let failing =
            job_of(job).and_then(|job| self.truths.get(job)).is_some_and(|t| t.fails_at == phase(job));
        let stuck = (!healthy && random.chance(1, 12)).then(|| {
            let kind = random.pick(&[Stuck::Image, Stuck::Unschedulable]);
            (kind, at + random.wait(20 * MINUTE))
        });
        let end = match random.below(100) {
            _ if failing => random.pick(&[End::Code(1), End::Code(3), End::OutOfMemory]),
            0..5 if !healthy => End::Code(1),
            5..8 if !healthy => End::Disrupted,
            8 if !healthy => End::OutOfMemory,
            9..11 if !healthy => End::Silent,
            _ => End::Well,
        };
        let runs = random.wait(5 * MINUTE);
        let wait = random.wait(10 * SECOND);
        self.plans.insert(
            uid(pod).to_owned(),
            PodPlan { stuck, runs, end, started: None, node: None, ends_at: None },
        );
        self.after(wait, Event::Pod(uid(pod).to_owned()));
    }

    /// Deletes a pod: it is gone once the kubelet says so, where one has it.
    pub(crate) fn delete_pod(&mut self, at: &Key) {
        let Some(pod) = self.store.objects.get(at).filter(|pod| !is_deleting(pod)) else { return };
        if is_terminal(pod) || pod["spec"]["nodeName"].is_null() {
            // No kubelet has to end it.
            self.change("unheld", at, |pod| without_finalizer(pod, KUBELET));
        }
        self.store.delete(at);
    }

    /// A pod is told to end.
    pub(crate) fn end_pod(&mut self, pod: &str) {
        let wait = self.random.wait(30 * SECOND);
        if let Some(plan) = self.plans.get_mut(pod)
            && plan.ends_at.is_none()
        {
            plan.ends_at = Some(now() + wait);
            self.after(wait, Event::Pod(pod.to_owned()));
        }
    }

    /// The next step of a pod.
    pub(crate) fn step_pod(&mut self, of_pod: &str) {
        let Some(pod) = find(&self.store, "pods", of_pod).cloned() else {
            self.plans.remove(of_pod);
            return;
        };
        let (at, place) = (now(), key("pods", name(&pod)));
        let Some(plan) = self.plans.get_mut(of_pod) else { return };
        if plan.node.is_some_and(|node| self.lost[node] > at) {
            // It goes on when the node is back.
            return;
        }
        if is_deleting(&pod) {
            match plan.ends_at {
                Some(end) if end <= at => self.stop(&pod, &place),
                Some(_) => {}
                None => self.end_pod(of_pod),
            }
            return;
        }
        if is_terminal(&pod) {
            return;
        }
        if let Some((stuck, until)) = plan.stuck {
            if until > at {
                self.after(until - at, Event::Pod(of_pod.to_owned()));
                self.change("podstatus", &place, |pod| say_stuck(pod, stuck));
                return;
            }
            plan.stuck = None;
        }
        if plan.node.is_none() {
            let ready: Vec<usize> = (0..NODES).filter(|node| is_ready(&self.store, *node)).collect();
            plan.node = ready.get(self.random.below(ready.len())).copied();
            let Some(node) = plan.node else {
                self.after(MINUTE, Event::Pod(of_pod.to_owned()));
                return;
            };
            self.change("bind", &place, |pod| pod["spec"]["nodeName"] = json!(format!("node-{node}")));
            let wait = self.random.wait(10 * SECOND);
            self.after(wait, Event::Pod(of_pod.to_owned()));
            return;
        }
        match plan.started {
            None => {
                plan.started = Some(at);
                let runs = plan.runs;
                self.after(runs, Event::Pod(of_pod.to_owned()));
                self.wrote(&pod);
                self.change("podstatus", &place, |pod| {
                    pod["status"] = json!({"phase": "Running", "containerStatuses": [{
                        "name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "state": {"running": {}},
                    }]});
                });
            }
            Some(started) if started + plan.runs <= at => self.finish(&pod, &place),
            Some(_) => {}
        }
    }

    /// A pod that was deleted has ended.
    fn stop(&mut self, pod: &Value, place: &Key) {
        self.change("podstatus", place, |pod| {
            if !is_terminal(pod) {
                pod["status"]["phase"] = json!("Failed");
                pod["status"]["containerStatuses"] = ended(137, "Error", "");
            }
            without_finalizer(pod, KUBELET);
        });
        self.plans.remove(uid(pod));
    }

    /// A pod has done what it does.
    fn finish(&mut self, pod: &Value, place: &Key) {
        let end = self.plans.get(uid(pod)).map_or(End::Well, |plan| plan.end);
        let (code, reason, message) = match end {
            End::Well => match self.last_words(pod) {
                Some(words) => (0, "Completed", words),
                None => (1, "Error", json!({"failed": {"message": "there is no plan"}}).to_string()),
            },
            End::Silent => {
                let _ = self.last_words(pod);
                (0, "Completed", String::new())
            }
            End::Code(code) => {
                let said = json!({"failed": {"message": "the function failed", "permanent": code == 3}});
                (i64::from(code), "Error", said.to_string())
            }
            End::OutOfMemory => (137, "OOMKilled", String::new()),
            End::Disrupted => (143, "Error", String::new()),
        };
        self.change("podstatus", place, |pod| {
            pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
            pod["status"]["containerStatuses"] = ended(code, reason, &message);
            if end == End::Disrupted {
                add_condition(pod, "DisruptionTarget", "EvictionByEvictionAPI", "", &Self::time_text());
            }
        });
    }

    /// The job that a pod works for.
    fn job_of(&self, pod: &Value) -> Option<String> {
        let job = find(&self.store, "jobs", owner(pod)?)?;
        job_of(job).map(str::to_owned)
    }

    /// A pod that runs has something in the bucket; one that removes or reads it has not.
    fn wrote(&mut self, pod: &Value) {
        let Some(job) = self.job_of(pod) else { return };
        if writes(pod)
            && let Some(truth) = self.truths.get_mut(&job)
        {
            truth.has_data |= !truth.is_published;
        }
    }

    /// What a pod says that has ended well, and what it has done to the bucket; nothing where that can't be done.
    fn last_words(&mut self, pod: &Value) -> Option<String> {
        let Some(job) = self.job_of(pod) else { return Some(String::new()) };
        let of_job = find(&self.store, "jobs", owner(pod)?)?.clone();
        let tasks = of_job["spec"]["completions"].as_u64().unwrap_or(1);
        let writers = of(&self.store, "pods").any(|p| {
            writes(p) && p["status"]["phase"] == "Running" && self.job_of(p).as_deref() == Some(&job)
        });
        let step = of_job["metadata"]["labels"]["mapreduce.dev/step"].as_str().map(str::to_owned);
        let Some(truth) = self.truths.get_mut(&job) else { return Some(String::new()) };
        Some(match phase(pod) {
            "plan" => truth.plan(step.as_deref()).to_string(),
            "report" => truth.restated(step.as_deref())?.to_string(),
            "cleanup" => {
                truth.has_data = writers;
                "\"done\"".to_owned()
            }
            phase => {
                let last = truth.does(step.as_deref(), phase, index(pod), tasks);
                if last && truth.is_last(phase, step.as_deref()) {
                    truth.finished().to_string()
                } else {
                    "\"done\"".to_owned()
                }
            }
        })
    }

    /// Lost nodes come back, images are there, there is room.
    pub(crate) fn heal_pods(&mut self) {
        let at = now();
        for node in 0..NODES {
            if self.lost[node] < Time::MAX {
                self.lost[node] = self.lost[node].min(at);
                self.after(1, Event::NodeSays(node));
            }
        }
        for plan in self.plans.values_mut() {
            if let Some((_, until)) = &mut plan.stuck {
                *until = at.min(*until);
            }
        }
        let pods: Vec<String> = self.plans.keys().cloned().collect();
        for pod in pods {
            let wait = self.random.wait(SECOND);
            self.after(wait, Event::Pod(pod));
        }
        let deleting: Vec<String> = of(&self.store, "pods")
            .filter(|pod| is_deleting(pod) && is_held_by(pod, KUBELET) && !has(pod, "never"))
            .map(|pod| uid(pod).to_owned())
            .collect();
        deleting.iter().for_each(|pod| self.end_pod(pod));
    }
}

/// Whether a pod writes to the bucket, as those of phases do.
fn writes(pod: &Value) -> bool {
    !["cleanup", "report"].contains(&phase(pod))
}

/// Nodes that there are.
pub(crate) const NODES: usize = 3;

fn is_ready(store: &crate::fake_api::store::Store, node: usize) -> bool {
    store.objects.get(&node_key(node)).is_some_and(|node| has(node, "Ready"))
}

/// A node after this time without a sign is not ready; its pods are evicted after the other.
const UNKNOWN_AFTER: Time = 40 * SECOND;
const EVICTED_AFTER: Time = 5 * MINUTE;

impl World {
    pub(crate) fn make_nodes(&mut self) {
        for node in 0..NODES {
            let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
            self.store.create(
                node_key(node),
                json!({"apiVersion": "v1", "kind": "Node", "metadata": {}, "status": status}),
            );
        }
    }

    /// A node is away until then.
    pub(crate) fn lose_node(&mut self, node: usize, until: Time) {
        self.note(|| format!("node-{node} is away until {until}"));
        self.lost[node] = until;
        self.after(UNKNOWN_AFTER, Event::NodeSays(node));
        self.after(UNKNOWN_AFTER + EVICTED_AFTER, Event::Evict(node));
        if until < Time::MAX {
            self.at(until, Event::NodeSays(node));
        }
    }

    /// What the node's object says of it; a node that is back goes on with its pods.
    pub(crate) fn node_says(&mut self, node: usize) {
        let away = self.lost[node] > now();
        self.change("nodestatus", &node_key(node), |object| {
            object["status"]["conditions"][0]["status"] = json!(if away { "Unknown" } else { "True" });
        });
        if !away {
            let pods: Vec<String> = self
                .plans
                .iter()
                .filter(|(_, plan)| plan.node == Some(node))
                .map(|(pod, _)| pod.clone())
                .collect();
            for pod in pods {
                let wait = self.random.wait(SECOND);
                self.after(wait, Event::Pod(pod));
            }
        }
    }

    /// The pods of a node that stays away are deleted; they end when the node says so.
    pub(crate) fn evict(&mut self, node: usize) {
        if self.lost[node] <= now() {
            return;
        }
        let pods: Vec<Key> = of(&self.store, "pods")
            .filter(|pod| pod["spec"]["nodeName"] == format!("node-{node}") && !is_terminal(pod))
            .map(|pod| key("pods", name(pod)))
            .collect();
        for pod in pods {
            self.change("evict", &pod, |pod| {
                add_condition(pod, "DisruptionTarget", "DeletionByTaintManager", "", &Self::time_text());
            });
            self.delete_pod(&pod);
        }
    }
}

fn ended(code: i64, reason: &str, message: &str) -> Value {
    json!([{
        "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}},
    }])
}

fn say_stuck(pod: &mut Value, why: Stuck) {
    match why {
        Stuck::Unschedulable => {
            pod["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available",
            }]);
        }
        Stuck::Image => {
            pod["status"]["containerStatuses"] = json!([{
                "name": "worker", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}},
            }]);
        }
    }
}
