//! What pods say: their last words, why one failed, why one can't start. Pure.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::ListParams;
use mapreduce_api::wire::{ErrorReport, RecordRef, Termination};

use super::build::names::Child;
use super::build::pod_template::WORKER;
use super::observed::{Failure, Reason, Stuck};

/// Most bytes of a condition's message.
const MAX_MESSAGE: usize = 16 << 10;

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

/// Why a Job has failed: the report that says most, else how a pod ended, else what the Job says. The
/// phase is below the field `path` of the manifest.
pub fn failure(child: Child, path: &str, failed: &[Pod], job_says: &str) -> Failure {
    let report = |pod: &Pod| match serde_json::from_str(&last_words(pod)) {
        Ok(Termination::Failed(report)) => Some(report),
        _ => None,
    };
    let rank = |pod: &&Pod| {
        let report = report(pod);
        let at = ended(pod).and_then(|(_, end)| end.finished_at.as_ref()).map(|t| t.0);
        (!is_disrupted(pod), report.as_ref().is_some_and(|r| r.permanent), report.is_some(), at)
    };
    let usual = if child == Child::Plan { Reason::PlanFailed } else { Reason::TaskFailed };
    let Some(pod) = failed.iter().max_by_key(rank) else {
        let message = format!("the {child} Job failed, and no pod is left to say why: {job_says}");
        return Failure { reason: usual, message };
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
    if reason != Reason::OutOfMemory {
        let _ = write!(message, "\n(pod {})", pod.name_any());
    }
    Failure { reason, message: bounded(message) }
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
        Some(signal) => format!("was ended by signal {signal}"),
        None => format!("exited with code {}", end.exit_code),
    };
    let mut text = format!("container {container} {ended}{why}");
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
    let phase = if child == Child::Reduce { "reduce" } else { "map" };
    let limit = pod
        .spec
        .iter()
        .flat_map(|s| &s.containers)
        .find(|c| c.name == container)
        .and_then(|c| c.resources.as_ref()?.limits.as_ref()?.get("memory"))
        .map_or_else(String::new, |limit| format!(" of {}", limit.0));
    Some(format!(
        "container {container} of pod {} was killed for using more memory than its limit{limit}: \
         raise {path}.{phase}.resources.limits.memory",
        pod.name_any()
    ))
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE - "…".len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Since when the pod that has waited longest has been waiting, and what keeps one from starting.
pub fn longest_pending(pods: &[Pod]) -> Option<(Timestamp, Option<Stuck>)> {
    let mut waiting: Vec<(Timestamp, &Pod)> = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| Some((pod.metadata.creation_timestamp.as_ref()?.0, pod)))
        .collect();
    waiting.sort_by_key(|(since, _)| *since);
    let since = waiting.first()?.0;
    Some((since, waiting.iter().find_map(|(_, pod)| stuck(pod))))
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
