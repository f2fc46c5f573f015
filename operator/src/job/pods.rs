//! What pods say: their last words, why one failed, why one can't start. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::api::ListParams;
use mapreduce_api::wire::{ErrorReport, RecordRef, Termination, exit};
use serde_json::Value;

use super::build::names::Child;
use super::build::names::WORKER;
use super::observed::{Failure, Reason, Stuck};
use crate::kube_ext::controller_of;
use crate::text::shortened;

/// Most bytes of a condition's message.
const MAX_MESSAGE: usize = 16 << 10;

/// What the kernel sends where there is no more memory, and the kubelet where a pod doesn't end.
const SIGKILL: i32 = 9;

/// Selects the pods of exactly this Job, not of an earlier one of its name.
pub fn of(job_uid: &str) -> ListParams {
    ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={job_uid}"))
}

/// The termination message of the pod's worker.
pub fn last_words(pod: &Pod) -> String {
    ended(pod).and_then(|(_, end)| end.message.clone()).unwrap_or_default()
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let containers = status.and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    containers.chain(status.and_then(|s| s.init_container_statuses.as_ref()).into_iter().flatten())
}

/// How the pod's worker ended, else a container of it that failed.
fn ended(pod: &Pod) -> Option<(&str, &ContainerStateTerminated)> {
    let ends =
        || statuses(pod).filter_map(|c| Some((c.name.as_str(), c.state.as_ref()?.terminated.as_ref()?)));
    ends().find(|(name, _)| *name == WORKER).or_else(|| ends().find(|(_, end)| end.exit_code != 0))
}

fn is_disrupted(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|c| c.type_ == "DisruptionTarget" && c.status == "True")
}

/// How much a failed pod says of why its Job failed; the greatest is asked.
pub fn rank(pod: &Pod) -> impl Ord + use<> {
    let report = report(pod);
    let at = ended(pod).and_then(|(_, end)| end.finished_at.as_ref()).map(|t| t.0);
    (!is_disrupted(pod), report.as_ref().is_some_and(|r| r.permanent), report.is_some(), at)
}

fn report(pod: &Pod) -> Option<ErrorReport> {
    match termination(&last_words(pod)) {
        Some(Termination::Failed(report)) => Some(report),
        _ => None,
    }
}

/// Why a Job has failed: what the pod that says most reports, else how it ended, else what the Job says. The
/// phase is below the field `path` of the manifest.
pub fn failure(child: Child, path: &str, most: Option<&Pod>, job_says: &str) -> Failure {
    // The planner of a small job runs its tasks too.
    let of_plan = child == Child::Plan && most.and_then(report).is_none_or(|report| report.task.is_none());
    let usual = match most.and_then(ended) {
        Some((WORKER, end)) if end.exit_code == i32::from(exit::STORE_UNAVAILABLE) => {
            Reason::StoreUnavailable
        }
        _ if of_plan => Reason::PlanFailed,
        _ => Reason::TaskFailed,
    };
    let Some(pod) = most else {
        let message = format!("the {child} Job failed, and no pod is left to say why: {job_says}");
        return Failure { reason: usual, message, attempts: 0 };
    };
    let (reason, mut message) = match (report(pod), ended(pod)) {
        (Some(report), end) => {
            // A command that took too much is killed by itself where the kernel doesn't kill all of a container, and the
            // worker tells of a signal.
            let too_much = end.and_then(|(container, end)| out_of_memory(child, path, pod, container, end));
            match too_much {
                Some(message) => (Reason::OutOfMemory, format!("{message}\n{}", told(&report))),
                None => (usual, told(&report)),
            }
        }
        (None, Some((container, end))) => how(child, path, pod, container, end, usual),
        (None, None) => {
            let status = pod.status.as_ref();
            let why = status.and_then(|s| s.message.clone().or_else(|| s.reason.clone()));
            (usual, format!("pod {} failed: {}", pod.name_any(), why.as_deref().unwrap_or(job_says)))
        }
    };
    if let Some(evicted) = evicted(child, path, pod) {
        message = format!("{evicted}\n{message}");
    }
    let _ = write!(message, "\n({})", whereabouts(child, pod));
    Failure {
        reason,
        message: shortened(message, MAX_MESSAGE),
        attempts: most.and_then(report).map_or(0, |report| report.attempts),
    }
}

/// Which pod it was, where, of which task, and at which attempt.
fn whereabouts(child: Child, pod: &Pod) -> String {
    let annotation = |name: &str| pod.metadata.annotations.as_ref()?.get(name).cloned();
    let mut text = format!("pod {}", pod.name_any());
    if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
        let _ = write!(text, " on node {node}");
    }
    if child != Child::Plan
        && let Some(index) = annotation("batch.kubernetes.io/job-completion-index")
    {
        let _ = write!(text, ", task {index}");
    }
    let failed =
        annotation("batch.kubernetes.io/job-index-failure-count").and_then(|n| n.parse::<u32>().ok());
    if let Some(failed) = failed {
        let _ = write!(text, ", attempt {}", failed.saturating_add(1));
    }
    text
}

/// Why a node has ended the pod, and which limit to raise: what the worker says is that it was told to end.
fn evicted(child: Child, path: &str, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    if status.reason.as_deref() != Some("Evicted") {
        return None;
    }
    let why = status.message.as_deref().unwrap_or("the node had too little of something");
    let disk = why.contains("ephemeral") || why.contains("emptyDir");
    let remedy = if disk {
        format!(": raise {path}.{}.resources.limits.ephemeral-storage", phase_field(child))
    } else {
        String::new()
    };
    Some(format!("the node evicted pod {}: {}{remedy}", pod.name_any(), why.trim_end_matches(['.', ' '])))
}

/// The field of the manifest with the settings of a Job's pods.
fn phase_field(child: Child) -> &'static str {
    if child == Child::Reduce { "reduce" } else { "map" }
}

/// A pod's last words, if they are some of ours. No number in them is larger than the API server takes: a status
/// that can't be read again would hold its job for ever.
pub fn termination(message: &str) -> Option<Termination> {
    let mut said: Value = serde_json::from_str(message).ok()?;
    clamp(&mut said);
    serde_json::from_value(said).ok()
}

fn clamp(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.is_u64() => *value = i64::MAX.into(),
        Value::Array(items) => items.iter_mut().for_each(clamp),
        Value::Object(fields) => fields.values_mut().for_each(clamp),
        _ => {}
    }
}

/// The report as text: a line, then causes, the user's traceback among them whole.
fn told(report: &ErrorReport) -> String {
    let mut text = match &report.task {
        Some(task) if !report.message.contains(task.as_str()) => format!("{task}: {}", report.message),
        _ => report.message.clone(),
    };
    let said = |record: &RecordRef| report.causes.iter().any(|cause| cause.contains(&record.url));
    if let Some(record) = report.record.as_ref().filter(|record| !said(record)) {
        let _ = write!(text, "\nat the record at offset {} of {}", record.offset, record.url);
    }
    for cause in &report.causes {
        let _ = write!(text, "\n{cause}");
    }
    text
}

/// How a container ended that said nothing itself.
fn how(
    child: Child,
    path: &str,
    pod: &Pod,
    container: &str,
    end: &ContainerStateTerminated,
    usual: Reason,
) -> (Reason, String) {
    if let Some(message) = out_of_memory(child, path, pod, container, end) {
        return (Reason::OutOfMemory, message);
    }
    let why = end.reason.as_deref().filter(|r| *r != "Error").map(|r| format!(" ({r})")).unwrap_or_default();
    let signal =
        end.signal.filter(|s| *s != 0).or_else(|| (end.exit_code > 128).then(|| end.exit_code - 128));
    let ended = match signal {
        Some(SIGKILL) => "was ended by signal 9 (SIGKILL)".to_owned(),
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("exited with code {}", end.exit_code),
    };
    let mut text = format!("container {container} {ended}{why}");
    if signal == Some(SIGKILL) && !is_disrupted(pod) {
        let phase = phase_field(child);
        let _ = write!(text, ", most often for want of memory: raise {path}.{phase}.resources.limits.memory");
    }
    if let Some(message) = end.message.as_deref().map(str::trim).filter(|m| !m.is_empty()) {
        let _ = write!(text, "; it wrote last:\n{message}");
    }
    (usual, text)
}

/// What to do where a container, or a process in it, was killed for the memory that it used.
fn out_of_memory(
    child: Child,
    path: &str,
    pod: &Pod,
    container: &str,
    end: &ContainerStateTerminated,
) -> Option<String> {
    if end.reason.as_deref() != Some("OOMKilled") {
        return None;
    }
    let limit = pod
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .find(|c| c.name == container)
        .and_then(|c| c.resources.as_ref()?.limits.as_ref()?.get("memory"))
        .map_or_else(String::new, |limit| format!(" of {}", limit.0));
    Some(format!(
        "container {container} of pod {} was killed for using more memory than its limit{limit}: \
         raise {path}.{}.resources.limits.memory",
        pod.name_any(),
        phase_field(child)
    ))
}

/// What to set where a quota asks for resources that pods don't name. The phase is below the field `path` of the
/// manifest.
pub fn quota_remedy(refusal: &str, child: Child, path: &str) -> Option<String> {
    let (_, wanted) = refusal.split_once("must specify ")?;
    let phase = phase_field(child);
    let fields: BTreeSet<String> = wanted
        .split([';', ',', ' '])
        .filter_map(|word| {
            let (kind, name) = word.split_once('.').unwrap_or(("requests", word));
            let known = ["limits", "requests"].contains(&kind)
                && ["cpu", "memory", "ephemeral-storage"].contains(&name);
            known.then(|| format!("{kind}.{name}"))
        })
        .collect();
    let first = fields.first()?;
    let all = fields
        .iter()
        .map(|field| format!("{path}.{phase}.resources.{field}"))
        .collect::<Vec<_>>()
        .join(" and ");
    Some(format!("set {all}, or for all jobs the chart's worker.resources.{first}"))
}

/// Whether a Job is the pod's own.
pub fn is_of(pod: &Pod, job_uid: &str) -> bool {
    controller_of(pod).is_some_and(|owner| owner.uid == job_uid)
}

/// Pods that the cluster has ended, by the task's number.
#[derive(Debug, Default)]
pub struct Disruptions(BTreeMap<String, i32>);

impl Disruptions {
    /// What a pod says: the Job controller writes on it how many failures of its task it has ignored.
    pub fn add(&mut self, pod: &ObjectMeta) {
        let annotation = |name: &str| pod.annotations.as_ref()?.get(&format!("batch.kubernetes.io/{name}"));
        if let Some(task) = annotation("job-completion-index")
            && let Some(ignored) =
                annotation("job-index-ignored-failure-count").and_then(|n| n.parse::<i32>().ok())
        {
            let most = self.0.entry(task.clone()).or_default();
            *most = ignored.max(*most);
        }
    }

    /// All of them.
    pub fn sum(&self) -> i32 {
        self.0.values().fold(0, |sum, n| sum.saturating_add(*n))
    }
}

/// Pods that have not started, a page after the other.
#[derive(Debug, Default)]
pub struct Pending {
    count: i32,
    /// The one that has waited longest.
    since: Option<Timestamp>,
    /// The one that has waited longest of those that can't start, and why.
    stuck: Option<(Timestamp, Stuck)>,
    /// The one that has waited longest of those whose containers are being made.
    creating: Option<(Timestamp, Pod)>,
}

impl Pending {
    /// One more.
    pub fn add(&mut self, pod: Pod) {
        self.count += 1;
        if pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let Some(since) = pod.metadata.creation_timestamp.as_ref().map(|t| t.0) else { return };
        let longer = |than: Option<Timestamp>| than.is_none_or(|than| since < than);
        if longer(self.since) {
            self.since = Some(since);
        }
        if let Some(stuck) = stuck(&pod) {
            if longer(self.stuck.as_ref().map(|(since, _)| *since)) {
                self.stuck = Some((since, stuck));
            }
        } else if longer(self.creating.as_ref().map(|(since, _)| *since)) && is_scheduled(&pod) {
            self.creating = Some((since, pod));
        }
    }

    /// How many there are.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Since when the one that has waited longest has been waiting.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// What keeps one from starting that time alone won't help.
    pub fn stuck(&self) -> Option<Stuck> {
        self.stuck.as_ref().map(|(_, stuck)| stuck.clone())
    }

    /// The one that has waited longest of those whose containers are being made.
    pub fn longest_creating(&self) -> Option<&Pod> {
        self.creating.as_ref().map(|(_, pod)| pod)
    }
}

fn is_scheduled(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// How long ago it was made.
pub fn age(pod: &Pod, now: Timestamp) -> SignedDuration {
    pod.metadata.creation_timestamp.as_ref().map_or(SignedDuration::ZERO, |t| now.duration_since(t.0))
}

/// When an event was last seen.
pub fn event_time(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let last = event.deprecated_last_timestamp.as_ref().map(|t| t.0);
    series.max(last).max(event.event_time.as_ref().map(|t| t.0))
}

/// Whether it should have ended so long ago. Its time of deletion has the time that it is given in it.
pub fn is_overdue(pod: &Pod, now: Timestamp, limit: SignedDuration) -> bool {
    pod.metadata.deletion_timestamp.as_ref().is_some_and(|t| now.duration_since(t.0) >= limit)
}

/// Whether the pod's worker has ended well: the pod is done, whatever else runs in it.
pub fn worker_succeeded(pod: &Pod) -> bool {
    ended(pod).is_some_and(|(container, end)| container == WORKER && end.exit_code == 0)
}

/// Whether the pod's worker runs.
pub fn worker_runs(pod: &Pod) -> bool {
    running_worker(pod).is_some()
}

/// Whether the pod's worker has run for so long, and says that it isn't ready.
pub fn is_unready(pod: &Pod, now: Timestamp, grace: SignedDuration) -> bool {
    let Some(worker) = running_worker(pod).filter(|worker| !worker.ready) else { return false };
    let started = worker.state.as_ref().and_then(|s| s.running.as_ref()?.started_at.as_ref());
    started.is_some_and(|at| now.duration_since(at.0) >= grace)
}

fn running_worker(pod: &Pod) -> Option<&ContainerStatus> {
    let mut containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    containers.find(|c| c.name == WORKER && c.state.as_ref().is_some_and(|s| s.running.is_some()))
}

/// The container that goes on so long after the worker has ended that the pod may never end.
pub fn sidecar_goes_on(pod: &Pod, now: Timestamp, grace: SignedDuration) -> Option<Stuck> {
    let (container, end) = ended(pod)?;
    let since = end.finished_at.as_ref()?.0;
    if container != WORKER || now.duration_since(since) < grace {
        return None;
    }
    let containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    let goes_on = containers.into_iter().find(|c| c.state.as_ref().is_some_and(|s| s.running.is_some()))?;
    Some(Stuck {
        reason: "SidecarRunning".to_owned(),
        message: format!(
            "container {} of pod {} goes on, though the worker has ended: the pod can't end. Make it a sidecar, which is \
             an init container with restartPolicy: Always, or keep it from being injected into the job's pods",
            goes_on.name,
            pod.name_any()
        ),
    })
}

fn stuck(pod: &Pod) -> Option<Stuck> {
    let name = pod.name_any();
    let status = pod.status.as_ref()?;
    let scheduled =
        status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = scheduled {
        let reason = condition.reason.clone().unwrap_or_else(|| "Unschedulable".to_owned());
        let message = condition.message.as_deref().unwrap_or("it has no node");
        return Some(Stuck { reason, message: format!("pod {name} can't be scheduled: {message}") });
    }
    let mut waiting =
        statuses(pod).filter_map(|c| Some((c.name.as_str(), c.state.as_ref()?.waiting.as_ref()?)));
    waiting.find_map(|(container, waiting)| {
        let reason = match waiting.reason.as_deref()? {
            // On its way.
            "ContainerCreating" | "PodInitializing" => return None,
            // The same, a moment before.
            "ErrImagePull" => "ImagePullBackOff",
            reason => reason,
        };
        let why = waiting.message.as_deref().unwrap_or(reason);
        let message = format!("container {container} of pod {name} can't start: {why}");
        Some(Stuck { reason: reason.to_owned(), message })
    })
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
