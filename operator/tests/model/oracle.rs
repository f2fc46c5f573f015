//! What has to be true, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::fake_api::route::{Route, Verb};
use crate::fake_api::store::Store;
use crate::objects::{finalizers, has, is_deleting, is_held_by, job_of, name, of, owner, phase, uid};
use crate::requests::{Fate, Pass};
use crate::user::Truth;
use crate::world::{MINUTE, SECOND, Time, now};

/// How old what an operator has read of a job may be when it makes a Job for it, and the request that makes it.
const READ_AGE: Time = 31 * SECOND;

/// Most requests for a job in ten minutes.
const MOST_REQUESTS: u32 = 2000;

#[derive(Default)]
pub(crate) struct Oracle {
    /// What was not true.
    pub(crate) wrong: Vec<String>,
    pub(crate) namespace_deleted: bool,
    jobs: BTreeMap<String, Job>,
    /// The job that each of its Jobs, and its ConfigMap, was made for.
    owners: BTreeMap<String, String>,
    /// How often Jobs of a name were deleted, and which.
    children_deleted: BTreeMap<String, BTreeSet<String>>,
    pub(crate) fates: BTreeMap<String, u64>,
    pub(crate) requests: u64,
    pub(crate) passes: u64,
}

/// What is known of a job.
#[derive(Default)]
struct Job {
    name: String,
    /// Step and phase, as far as it has come.
    reached: (i64, usize),
    end: Option<Value>,
    /// How often each of its Jobs was made.
    made: BTreeMap<String, u32>,
    /// By whom it was let go, other than the operator.
    let_go: bool,
    incomplete: bool,
    minutes: (Time, u32),
    /// Since when it is deleted.
    deleted: Option<Time>,
    /// A Job was made for it that was on its way when it was deleted.
    raced: bool,
}

const PHASES: [&str; 6] = ["Pending", "Planning", "Mapping", "Reducing", "Succeeded", "Failed"];

fn place(job: &Value) -> (i64, usize) {
    let status = &job["status"];
    let phase = PHASES.iter().position(|p| status["phase"] == *p).unwrap_or(0);
    // An end comes after every step.
    let step = if phase >= 4 { i64::MAX } else { status["step"]["number"].as_i64().unwrap_or(1) };
    (step, phase)
}

/// The part of a status that an end fixes.
fn end(job: &Value) -> Option<Value> {
    let phase = job["status"]["phase"].as_str()?;
    let status = &job["status"];
    ["Succeeded", "Failed"].contains(&phase).then(|| {
        serde_json::json!([
            phase,
            status["completionTime"],
            status["counters"],
            status["output"],
            status["maps"],
            status["reduces"]
        ])
    })
}

/// Whether a job has nothing more to come.
pub(crate) fn is_at_rest(job: &Value) -> bool {
    let held = is_held_by(job, mapreduce_operator::job::FINALIZER);
    let kept = job["spec"]["cleanup"] == "OnSuccess" && job["status"]["phase"] == "Failed";
    end(job).is_some() && !is_deleting(job) && (!held || kept)
}

impl Oracle {
    pub(crate) fn is_wrong(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.wrong.contains(&what) {
            self.wrong.push(what);
        }
    }

    pub(crate) fn fates(&mut self, fate: Fate) {
        if fate != Fate::Serve {
            *self.fates.entry(format!("{fate:?}")).or_default() += 1;
        }
    }

    fn job(&mut self, uid: &str) -> &mut Job {
        self.jobs.entry(uid.to_owned()).or_default()
    }

    pub(crate) fn requested(&mut self, pass: &Pass, _: &Route) {
        self.requests += 1;
        let time = now() / (10 * MINUTE);
        let job = self.job(&pass.uid);
        if job.minutes.0 != time {
            job.minutes = (time, 0);
        }
        job.minutes.1 += 1;
        if job.minutes.1 == MOST_REQUESTS {
            self.is_wrong(format!(
                "job {} costs more than {MOST_REQUESTS} requests in ten minutes",
                pass.job
            ));
        }
    }

    /// An event was published.
    pub(crate) fn told(&mut self, event: &Value) {
        if event["reason"] == "CleanupIncomplete" {
            self.job(event["regarding"]["uid"].as_str().unwrap_or_default()).incomplete = true;
        }
    }

    pub(crate) fn passed(&mut self, _: &str, failed: Option<&'static str>) {
        self.passes += 1;
        match failed {
            Some("panicked") => self.is_wrong("a pass has panicked"),
            Some("endless") => self.is_wrong("a pass came to no end"),
            _ => {}
        }
    }

    /// Somebody deletes a job. What it owns is nobody's once it is deleted so that it leaves orphans.
    pub(crate) fn deleted_by_user(&mut self, job: &str, held: Option<&str>) {
        if held == Some("orphan") {
            self.finalizer_removed(job);
        }
    }

    pub(crate) fn finalizer_removed(&mut self, job: &str) {
        self.jobs.values_mut().filter(|known| known.name == job).for_each(|known| known.let_go = true);
    }

    /// Something has changed, whoever did it.
    pub(crate) fn changed(
        &mut self,
        kind: &str,
        resource: &str,
        object: &Value,
        truths: &BTreeMap<String, Truth>,
        _: &Store,
    ) {
        if kind == "ADDED"
            && let Some(owner) = job_of(object)
        {
            self.owners.insert(uid(object).to_owned(), owner.to_owned());
        }
        if resource == "jobs" && (kind == "DELETED" || is_deleting(object)) {
            let deleted = self.children_deleted.entry(name(object).to_owned()).or_default();
            deleted.insert(uid(object).to_owned());
        }
        if resource != "mapreducejobs" {
            return;
        }
        let known = self.jobs.entry(uid(object).to_owned()).or_default();
        name(object).clone_into(&mut known.name);
        if kind == "DELETED" || is_deleting(object) {
            known.deleted.get_or_insert_with(now);
        }
        let new = place(object);
        let mut wrong = Vec::new();
        if new < known.reached {
            wrong.push(format!("job {} goes back from {:?} to {new:?}", name(object), known.reached));
        }
        known.reached = new.max(known.reached);
        match (&known.end, end(object)) {
            (Some(old), new) if new.as_ref() != Some(old) => {
                wrong.push(format!("job {} had ended with {old} and is {new:?}", name(object)));
            }
            (None, Some(new)) => {
                known.end = Some(new);
                wrong.extend(judge_end(object, truths.get(uid(object))));
            }
            _ => {}
        }
        wrong.into_iter().for_each(|what| self.is_wrong(what));
    }

    /// An operator's write was done.
    pub(crate) fn wrote(
        &mut self,
        pass: &Pass,
        route: &Route,
        body: &Value,
        before: Option<&Value>,
        store: &Store,
        sent: Time,
    ) {
        let what = format!("{:?} {} {}", route.verb, route.resource, route.name);
        match (route.resource.as_str(), route.verb) {
            ("mapreducejobs", _) if before.is_some_and(|job| uid(job) != pass.uid) => {
                self.is_wrong(format!("{what}: written to the successor of the job that was meant"));
            }
            ("jobs" | "configmaps", Verb::Create) if job_of(body) != Some(&pass.uid) => {
                self.is_wrong(format!("{what}: made for another job"));
            }
            ("jobs", Verb::Delete) if pass.job.is_empty() => {
                if let Some(child) = before {
                    self.judge_swept(child, store);
                }
            }
            // Left by an earlier job of the name that was deleted so that it leaves orphans.
            ("jobs" | "configmaps", Verb::Delete)
                if before.is_some_and(|child| {
                    owner(child).is_none() && child["metadata"]["labels"]["mapreduce.dev/job"] == pass.job
                }) => {}
            ("jobs" | "configmaps", Verb::Merge | Verb::Apply | Verb::Delete)
                if before.is_some_and(|child| self.owners.get(uid(child)) != Some(&pass.uid)) =>
            {
                self.is_wrong(format!("{what}: written to an object that is not the job's"));
            }
            ("jobs", Verb::Create) => {
                self.made(pass, body, store);
                self.judge_late(pass, body, sent);
            }
            ("jobs", Verb::Delete) => {
                if let Some(child) = before {
                    self.judge_delete(pass, child, store);
                }
            }
            _ => {}
        }
    }

    fn made(&mut self, pass: &Pass, child: &Value, store: &Store) {
        let of_child = name(child).to_owned();
        let deleted = self.children_deleted.get(&of_child).map_or(0, BTreeSet::len) as u32;
        let known = self.job(&pass.uid);
        let made = known.made.entry(of_child.clone()).or_default();
        *made += 1;
        let (made, reached) = (*made, known.reached);
        if made > 1 + deleted {
            self.is_wrong(format!("Job {of_child} is made {made} times, and was deleted {deleted} times"));
        }
        let job = of(store, "mapreducejobs").find(|job| uid(job) == pass.uid);
        let step = child["metadata"]["labels"]["mapreduce.dev/step"].as_str().unwrap_or("s1");
        let step: i64 = step.trim_start_matches('s').parse().unwrap_or(1);
        let at = ["", "plan", "map", "reduce"].iter().position(|p| *p == phase(child));
        if let (Some(at), Some(_)) = (at, job)
            && (step, at) < reached
            && deleted == 0
        {
            self.is_wrong(format!("Job {of_child} is made after its phase has ended: {reached:?}"));
        }
    }

    /// A look at a job and the creation that follows from it are two requests: a Job may be made for one that was
    /// deleted in between, but not for one that was deleted long before.
    fn judge_late(&mut self, pass: &Pass, child: &Value, sent: Time) {
        let Some(deleted) = self.job(&pass.uid).deleted else { return };
        if ["cleanup", "report"].contains(&phase(child)) {
            return;
        }
        if sent > deleted + READ_AGE {
            self.is_wrong(format!("Job {} is made long after its job was deleted", name(child)));
        }
        self.job(&pass.uid).raced = true;
    }

    /// What no job's pass deletes is an orphan in a namespace that is being deleted, and its job is gone.
    fn judge_swept(&mut self, child: &Value, store: &Store) {
        let lives = of(store, "mapreducejobs").any(|job| Some(uid(job)) == job_of(child));
        if !self.namespace_deleted || owner(child).is_some() || lives {
            self.is_wrong(format!("Job {} is ended as an orphan, and is none", name(child)));
        }
    }

    /// An operator deletes a Job of a phase only where the job is at its end, or where the plan's words are lost.
    fn judge_delete(&mut self, pass: &Pass, child: &Value, store: &Store) {
        let job = of(store, "mapreducejobs").find(|job| uid(job) == pass.uid);
        let Some(job) = job else { return };
        let may = is_deleting(job) || self.namespace_deleted || job["status"]["phase"] == "Failed";
        // A report only reads; the plan's words may be lost.
        if !may && !["plan", "report"].contains(&phase(child)) {
            self.is_wrong(format!("Job {} is deleted by the operator, and its job runs", name(child)));
        }
    }

    /// At the end, with all faults over: every job has come to its end.
    pub(crate) fn judge_rest(&mut self, store: &Store, truths: &BTreeMap<String, Truth>) {
        let mut wrong = Vec::new();
        if self.namespace_deleted && of(store, "nodes").any(|node| !has(node, "Ready")) {
            // Pods on a node that stays away hold their namespace, whatever an operator does.
            return;
        }
        for job in of(store, "mapreducejobs") {
            if is_deleting(job) {
                let by: Vec<&str> = finalizers(job).collect();
                // What waits in the foreground for a pod on a node that stays away waits for the node.
                if by != ["foregroundDeletion"] || of(store, "nodes").all(|node| has(node, "Ready")) {
                    wrong.push(format!("job {} is held by {by:?} for ever", name(job)));
                }
            } else if self.namespace_deleted {
                wrong.push(format!("job {} is left in a namespace that is deleted", name(job)));
            } else if !is_at_rest(job) {
                let status = &job["status"];
                wrong.push(format!(
                    "job {} never ends: {} {}",
                    name(job),
                    status["phase"],
                    status["conditions"]
                ));
            }
        }
        if self.namespace_deleted
            && store.objects.keys().any(|key| !["events", "nodes"].contains(&key.0.as_str()))
        {
            let left: Vec<String> = store.objects.keys().map(|key| format!("{} {}", key.0, key.2)).collect();
            wrong.push(format!("the namespace is never gone: {left:?}"));
        }
        let away = |pod: &&Value| {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            of(store, "nodes").find(|known| name(known) == node).is_some_and(|node| !has(node, "Ready"))
        };
        for pod in of(store, "pods").filter(|pod| !crate::objects::is_terminal(pod) && !away(pod)) {
            wrong.push(format!("pod {} runs for ever", name(pod)));
        }
        for (of_job, truth) in truths {
            let known = self.jobs.entry(of_job.clone()).or_default();
            let excused = known.let_go || known.incomplete || known.raced || self.namespace_deleted;
            let job = of(store, "mapreducejobs").find(|job| uid(job) == of_job);
            let keeps = job.is_some_and(|job| job["spec"]["cleanup"] != "Always");
            if truth.has_data && !excused && !keeps && !truth.keeps_data {
                wrong.push(format!("the data of job {} is left, and nobody was told", known.name));
            }
        }
        wrong.into_iter().for_each(|what| self.is_wrong(what));
    }
}

/// What an end says is right.
fn judge_end(job: &Value, truth: Option<&Truth>) -> Vec<String> {
    let (status, mut wrong) = (&job["status"], Vec::new());
    let Some(truth) = truth else { return wrong };
    let of = name(job);
    for phase in ["maps", "reduces"] {
        if status[phase]["active"].as_i64().is_some_and(|n| n != 0) {
            wrong.push(format!("job {of} has ended and {phase} are active"));
        }
    }
    if status["phase"] == "Succeeded" {
        if !truth.is_published {
            wrong.push(format!("job {of} has succeeded without a result"));
        }
        let records = &status["counters"]["reduceOutputRecords"];
        if !records.is_null() && *records != truth.records {
            wrong.push(format!("job {of} counts {records} records of {}", truth.records));
        }
        for phase in ["maps", "reduces"] {
            let counts = &status[phase];
            if !counts.is_null() && counts["succeeded"] != counts["total"] && counts["total"] != 0 {
                wrong.push(format!("job {of} has succeeded with {} {phase}", counts["progress"]));
            }
        }
    }
    wrong
}
