//! What the pods of a Job that has ended said of it.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use mapreduce_api::v1alpha1::MapReduceJob;
use mapreduce_api::wire::Termination;

use super::build::names::Child;
use super::observed::{ChildJob, Failure, JobState, PodReport};
use super::pods::Disruptions;
use super::read_error::{ReadError, reading};
use super::{pods, steps};

/// What the pods said, where that decides what is next.
pub async fn report(
    api: &Api<Pod>,
    job: &MapReduceJob,
    child: Child,
    run: &ChildJob,
) -> Result<PodReport, ReadError> {
    let step = steps::at(job);
    let map_only = job.status.as_ref().and_then(|s| s.reduces.as_ref()).is_some_and(|r| r.total == 0);
    match (&run.state, child) {
        (JobState::Running, _) => Ok(PodReport::Unread),
        (JobState::Complete, Child::Plan) => succeeded(api, run, plan_or_end).await,
        // Only the final phase reports a summary.
        (JobState::Complete, Child::Map) if !map_only => Ok(PodReport::Unread),
        (JobState::Complete, Child::Map | Child::Reduce) if step.next().is_some() => Ok(PodReport::Unread),
        (JobState::Complete, _) => {
            succeeded(api, run, |said| match said {
                Termination::Finished(summary) if summary.committed => Some(PodReport::Finished(summary)),
                _ => None,
            })
            .await
        }
        (JobState::Failing(why) | JobState::Failed(why), child) => {
            Ok(PodReport::Failed(failure(api, job, child, run, why).await?))
        }
    }
}

/// What a pod that was asked again has said.
pub async fn restated(api: &Api<Pod>, run: &ChildJob) -> Result<PodReport, ReadError> {
    match run.state {
        JobState::Complete => succeeded(api, run, plan_or_end).await,
        _ => Ok(PodReport::Unread),
    }
}

fn plan_or_end(said: Termination) -> Option<PodReport> {
    match said {
        Termination::Planned(plan) => Some(PodReport::Planned(plan)),
        Termination::Finished(summary) if summary.committed => Some(PodReport::Finished(summary)),
        _ => None,
    }
}

/// Why attempts of a Job have failed: what the pod says that says most.
pub async fn failure(
    api: &Api<Pod>,
    job: &MapReduceJob,
    child: Child,
    run: &ChildJob,
    job_says: &str,
) -> Result<Failure, ReadError> {
    let path = steps::at(job).path();
    let mut most = None;
    pages(api, run, "Failed", |pod| {
        if most.as_ref().is_none_or(|most| pods::rank(&pod) >= pods::rank(most)) {
            most = Some(pod);
        }
        true
    })
    .await?;
    Ok(pods::failure(child, &path, most.as_ref(), job_says))
}

/// How many pods of the Job the cluster has ended: each pod says how many there were before it of its task.
pub async fn disruptions(api: &Api<Pod>, run: &ChildJob) -> Result<i32, ReadError> {
    let mut page = pods::of(&run.uid).limit(500);
    let mut found = Disruptions::default();
    loop {
        // Their metadata alone: a Job may have 10,000 pods.
        let pods = api.list_metadata(&page).await.map_err(reading("pods"))?;
        pods.items.iter().for_each(|pod| found.add(&pod.metadata));
        match pods.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(found.sum()),
        }
    }
}

/// The first answer among the pods that succeeded.
async fn succeeded(
    api: &Api<Pod>,
    run: &ChildJob,
    wanted: impl Fn(Termination) -> Option<PodReport>,
) -> Result<PodReport, ReadError> {
    let mut report = PodReport::Lost;
    pages(api, run, "Succeeded", |pod| {
        let message = pods::last_words(&pod);
        let answer = pods::termination(&message).and_then(&wanted);
        let go_on = answer.is_none();
        report = answer.unwrap_or(PodReport::Unclear(message));
        go_on
    })
    .await?;
    Ok(report)
}

/// Shows the Job's own pods in this phase one after the other, until one is enough. A page at a time: a Job may have
/// 10,000 of them.
pub async fn pages(
    api: &Api<Pod>,
    run: &ChildJob,
    phase: &str,
    mut look: impl FnMut(Pod) -> bool,
) -> Result<(), ReadError> {
    let mut page = pods::of(&run.uid).fields(&format!("status.phase={phase}")).limit(500);
    loop {
        let found = api.list(&page).await.map_err(reading("pods"))?;
        // Anybody can give a pod a label.
        let own = found.items.into_iter().filter(|pod| pods::is_of(pod, &run.uid));
        for pod in own {
            if !look(pod) {
                return Ok(());
            }
        }
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}
