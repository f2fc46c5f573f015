//! People, and other programs that change what is there: what they make, and what they do to it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::objects::{NAMESPACE, is_deleting, key, name, namespace_key, of, owner, uid, without_finalizer};
use crate::world::{Event, MINUTE, SECOND, World};

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Submit(&'static str),
    /// With the background, the foreground, or orphans.
    Delete(&'static str, Option<&'static str>),
    Suspend(&'static str, bool),
    Parallelism(&'static str),
    /// A field of the spec that doesn't matter to what runs.
    Edit(&'static str),
    Touch(&'static str),
    RemoveFinalizer(&'static str),
    Relabel(&'static str),
    DeleteChild(&'static str),
    DeletePod(&'static str),
    DeleteNamespace,
    /// Creations are refused for now, or no more.
    Quota(bool),
}

/// What is right of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) maps: u32,
    pub(crate) reduces: u32,
    pub(crate) steps: u32,
    pub(crate) records: u64,
    /// The phase whose tasks all fail, if any.
    pub(crate) fails_at: &'static str,
    /// There is intermediate data in the bucket.
    pub(crate) has_data: bool,
    /// `_SUCCESS` is there.
    pub(crate) is_published: bool,
    /// Tasks whose result is in the bucket, by step and phase.
    pub(crate) done: BTreeSet<(u32, String, u64)>,
    /// The steps whose plan is in the bucket.
    pub(crate) planned: u32,
    /// The job's cleanup leaves what there is.
    pub(crate) keeps_data: bool,
}

impl Truth {
    /// What the plan's pod says.
    pub(crate) fn plan(&mut self, step: Option<&str>) -> Value {
        if self.maps == 0 && self.is_last_step(step) {
            return self.finished();
        }
        self.planned = self.planned.max(number(step));
        self.plan_of(step)
    }

    fn plan_of(&self, step: Option<&str>) -> Value {
        let before = step.filter(|step| *step != "s1").map(|_| json!({"mapInputRecords": self.records}));
        json!({"planned": {
            "mapTasks": self.maps, "reduceTasks": self.reduces, "partitions": self.reduces.max(1),
            "inputObjects": 1, "inputBytes": self.records, "before": before,
        }})
    }

    /// What the last pod says.
    pub(crate) fn finished(&mut self) -> Value {
        (self.is_published, self.has_data) = (true, false);
        self.summary()
    }

    /// What a pod says that reads plan or `_SUCCESS` in the bucket; nothing where neither is there.
    pub(crate) fn restated(&self, step: Option<&str>) -> Option<Value> {
        let plan = || (number(step) <= self.planned).then(|| self.plan_of(step));
        if self.is_published { Some(self.summary()) } else { plan() }
    }

    fn summary(&self) -> Value {
        let step = (self.steps > 1).then(|| json!({"mapInputRecords": self.records}));
        json!({"finished": {
            "counters": {"reduceOutputRecords": self.records}, "lastStep": step, "parts": 1, "records": self.records,
            "committed": true,
        }})
    }

    /// A task is done; whether all of its phase are.
    pub(crate) fn does(&mut self, step: Option<&str>, phase: &str, task: u64, tasks: u64) -> bool {
        let of = (number(step), phase.to_owned());
        self.done.insert((of.0, of.1.clone(), task));
        (0..tasks).all(|task| self.done.contains(&(of.0, of.1.clone(), task)))
    }

    fn is_last_step(&self, step: Option<&str>) -> bool {
        step.is_none_or(|step| step == format!("s{}", self.steps))
    }

    /// Whether a phase of a step is the job's last one.
    pub(crate) fn is_last(&self, phase: &str, step: Option<&str>) -> bool {
        self.is_last_step(step) && (phase == "reduce" || (phase == "map" && self.reduces == 0))
    }
}

/// The number of a step, from its label.
fn number(step: Option<&str>) -> u32 {
    step.and_then(|step| step.strip_prefix('s')?.parse().ok()).unwrap_or(1)
}

const NAMES: [&str; 2] = ["wc", "sort"];
const CHILDREN: [&str; 4] = ["plan", "map", "reduce", "report"];

impl World {
    /// Draws who does what, and when.
    pub(crate) fn draw_actions(&mut self, until: u64) {
        for job in &NAMES[..=self.random.below(2)] {
            let first = self.random.wait(5 * SECOND);
            self.after(first, Event::User(Action::Submit(job)));
            for _ in 0..self.random.below(5) {
                let at = self.random.wait(until);
                let action = self.draw_action(job);
                self.after(at, Event::User(action));
            }
            // One more of the same name, if there is none by then.
            if self.random.chance(1, 3) {
                let at = self.random.wait(until);
                self.after(at, Event::User(Action::Submit(job)));
            }
        }
        if self.random.chance(1, 20) {
            let at = self.random.wait(until);
            self.after(at, Event::User(Action::DeleteNamespace));
        }
        if self.random.chance(1, 10) {
            let (at, long) = (self.random.wait(until), self.random.wait(10 * MINUTE));
            self.after(at, Event::User(Action::Quota(true)));
            self.after(at + long, Event::User(Action::Quota(false)));
        }
    }

    fn draw_action(&mut self, job: &'static str) -> Action {
        match self.random.below(20) {
            0..4 => Action::Delete(job, None),
            4 => Action::Delete(job, Some("foregroundDeletion")),
            5 => Action::Delete(job, Some("orphan")),
            6..9 => Action::Suspend(job, true),
            9..12 => Action::Suspend(job, false),
            12 => Action::Parallelism(job),
            13 => Action::Edit(job),
            14 => Action::Touch(job),
            15 => Action::RemoveFinalizer(job),
            16 => Action::Relabel(job),
            17..19 => Action::DeleteChild(job),
            _ => Action::DeletePod(job),
        }
    }

    pub(crate) fn act(&mut self, action: &Action) {
        self.note(|| format!("user     {action:?}"));
        match *action {
            Action::Submit(job) => self.submit(job),
            Action::Delete(job, held) => {
                let at = key("mapreducejobs", job);
                if self.store.objects.contains_key(&at) {
                    self.oracle.deleted_by_user(job, held);
                    self.store.delete_held(&at, held);
                }
            }
            Action::Suspend(job, suspend) => self.edit(job, |job| job["spec"]["suspend"] = json!(suspend)),
            Action::Parallelism(job) => {
                let most = 1 + self.random.below(3);
                self.edit(job, |job| {
                    job["spec"]["map"] = json!({"parallelism": most});
                    if job["spec"]["steps"].is_null() {
                        job["spec"]["reduce"]["parallelism"] = json!(most);
                    }
                });
            }
            Action::Edit(job) => self.edit(job, |job| job["spec"]["ttlSecondsAfterFinished"] = json!(3600)),
            Action::Touch(job) => self.edit(job, |job| job["metadata"]["labels"] = json!({"touched": "yes"})),
            Action::RemoveFinalizer(job) => {
                self.edit(job, |job| without_finalizer(job, mapreduce_operator::job::FINALIZER));
                self.oracle.finalizer_removed(job);
            }
            Action::Relabel(job) => {
                if let Some(child) = self.draw_child(job) {
                    self.change("relabel", &key("jobs", &child), |child| {
                        child["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("somebody");
                    });
                }
            }
            Action::DeleteChild(job) => {
                if let Some(child) = self.draw_child(job) {
                    let held = self.random.pick(&[None, Some("foregroundDeletion")]);
                    self.store.delete_held(&key("jobs", &child), held);
                }
            }
            Action::DeletePod(job) => {
                let label = |pod: &&Value| pod["metadata"]["labels"]["mapreduce.dev/job"] == job;
                let pods: Vec<String> =
                    of(&self.store, "pods").filter(label).map(|pod| name(pod).to_owned()).collect();
                if !pods.is_empty() {
                    let pod = self.random.below(pods.len());
                    self.delete_pod(&key("pods", &pods[pod]));
                }
            }
            Action::DeleteNamespace => {
                self.oracle.namespace_deleted = true;
                self.store.delete(&namespace_key());
                self.collect();
            }
            Action::Quota(refuses) => self.quota = refuses,
        }
    }

    fn draw_child(&mut self, job: &str) -> Option<String> {
        let owner_uid = uid(self.job(job)?).to_owned();
        let children: Vec<String> = of(&self.store, "jobs")
            .filter(|child| owner(child) == Some(&owner_uid) && !is_deleting(child))
            .filter(|child| CHILDREN.contains(&crate::objects::phase(child)))
            .map(|child| name(child).to_owned())
            .collect();
        (!children.is_empty()).then(|| children[self.random.below(children.len())].clone())
    }

    fn edit(&mut self, job: &str, change: impl FnOnce(&mut Value)) {
        self.change("edit", &key("mapreducejobs", job), change);
    }

    fn submit(&mut self, job: &'static str) {
        if self.job(job).is_some() || self.namespace_is_terminating() {
            return;
        }
        let random = &mut self.random;
        let truth = Truth {
            maps: random.pick(&[0, 1, 1, 2, 3]),
            reduces: random.pick(&[0, 1, 1, 2]),
            steps: random.pick(&[1, 1, 1, 2]),
            records: 1 + random.next() % 1000,
            fails_at: random.pick(&["", "", "", "", "", "plan", "map", "reduce"]),
            ..Truth::default()
        };
        let reduce = |is: bool| is.then(|| json!({"function": {"builtin": {"name": "sum"}}}));
        let mut spec = json!({
            "input": {"urls": ["s3://b/"]}, "output": {"url": "s3://b/out/"}, "map": {},
            "cleanup": random.pick(&["Always", "Always", "Always", "OnSuccess", "Never"]),
            "retries": random.below(3),
        });
        let object = spec.as_object_mut().map(|spec| {
            if truth.steps == 1 {
                if let Some(reduce) = reduce(truth.reduces > 0) {
                    spec.insert("reduce".to_owned(), reduce);
                }
            } else {
                let step =
                    |n: u32| json!({"name": format!("s{n}"), "map": {}, "reduce": reduce(truth.reduces > 0)});
                spec.insert("steps".to_owned(), (1..=truth.steps).map(step).collect());
            }
            for (field, values) in [
                ("ttlSecondsAfterFinished", [30, 3600]),
                ("activeDeadlineSeconds", [300, 3600]),
                ("pendingDeadlineSeconds", [60, 900]),
                ("suspend", [0, 1]),
            ] {
                if random.chance(1, 8) {
                    let value = random.pick(&values);
                    let value = if field == "suspend" { json!(value == 1) } else { json!(value) };
                    spec.insert(field.to_owned(), value);
                }
            }
        });
        debug_assert!(object.is_some());
        let resource = json!({"apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob", "metadata": {}, "spec": spec});
        let truth = Truth { keeps_data: resource["spec"]["cleanup"] == "Never", ..truth };
        let made = self.store.create(key("mapreducejobs", job), resource);
        debug_assert_eq!(made["metadata"]["namespace"], NAMESPACE);
        self.truths.insert(uid(&made).to_owned(), truth);
    }

    /// From here on people wait for the end: what is suspended goes on, and nothing fails any more.
    pub(crate) fn heal(&mut self) {
        (self.fault_rate, self.quota) = (0, false);
        for job in NAMES {
            self.edit(job, |job| job["spec"]["suspend"] = json!(false));
        }
        self.heal_pods();
        self.collect();
    }

    /// Somebody has changed a job between another's read and write.
    pub(crate) fn touch(&mut self, job: &str) {
        let n = self.random.next();
        self.edit(job, |job| job["metadata"]["annotations"] = json!({"touched": n.to_string()}));
    }
}
