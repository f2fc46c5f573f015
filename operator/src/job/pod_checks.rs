//! Looks for what keeps a Job's pods from starting, from going on or from ending, at most once in a while.

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use mapreduce_api::v1alpha1::MapReduceJob;
use mapreduce_api::wire::STORE_AWAY;

use super::build::names::Child;
use super::observed::{ChildJob, JobState, LostPod, Starting, Stuck, Waiting};
use super::pod_reports::{failure, pages};
use super::read_error::{ReadError, reading};
use super::{pods, steps};
use crate::context::Context;
use crate::time::signed;

/// A pod whose containers are being made may be pulling a large image: after so many times the grace it is shown.
const CREATING_GRACES: i32 = 5;
/// An event of a creation that failed is of interest for this long: its controller tries again, ever more seldom.
const FAILED_CREATE_LASTS: SignedDuration = SignedDuration::from_mins(5);

/// What a look at the pods has found.
#[derive(Debug)]
pub struct PodCheck {
    /// Whether they can start.
    pub starting: Starting,
    /// Which of them a lost node keeps from ending.
    pub lost: Vec<LostPod>,
    /// How many the cluster has ended, as far as those that were looked at say.
    pub disrupted: i32,
    /// Which store they wait for, and since when.
    pub store_away: Option<String>,
    /// When to look again at those that run and don't get on.
    pub look_again: Option<Duration>,
    /// Why the last attempt failed, if one has failed since the last look.
    pub last_failure: Option<String>,
}

impl PodCheck {
    fn nothing(starting: Starting) -> Self {
        Self {
            starting,
            lost: Vec::new(),
            disrupted: 0,
            store_away: None,
            look_again: None,
            last_failure: None,
        }
    }
}

/// Looks at the pods of a Job, if its counts say that something may be wrong, and it is time.
pub async fn check(
    context: &Context,
    job: &MapReduceJob,
    child: Child,
    run: &ChildJob,
    now: Timestamp,
) -> Result<PodCheck, ReadError> {
    let uid = job.uid().unwrap_or_default();
    let stopping = run.suspended || run.deleting;
    let idle = run.is_finished() || (stopping && run.active == 0 && run.terminating == 0);
    let wanted = if stopping { 0 } else { run.parallelism.min(run.completions - run.succeeded) };
    let all_run = run.active <= run.ready && run.active >= wanted && run.terminating == 0;
    let api: Api<Pod> = context.api(job);
    let grace = context.limits.start_grace;
    let mut last_failure = None;
    if run.state == JobState::Running && context.polls.failed_anew(&uid, &run.uid, run.failed, now, grace) {
        last_failure = Some(failure(&api, job, child, run, "").await?.message);
    }
    if idle || all_run {
        context.polls.forget(&uid);
        let starting = if idle { Starting::Unread } else { Starting::All };
        return Ok(PodCheck { last_failure, ..PodCheck::nothing(starting) });
    }
    let limit = job.spec.pending_deadline_seconds;
    let again = grace.min(limit.map_or(Duration::MAX, |s| Duration::from_secs(s.unsigned_abs())));
    if let Err(wait) = context.polls.due(&uid, now, again) {
        return Ok(PodCheck { last_failure, ..PodCheck::nothing(Starting::NotDue(wait)) });
    }
    let mut look = Look { context, job, child, run, now, api: &api, again };
    let check = look.look(stopping, wanted).await?;
    if let (Starting::Waiting(waiting), Some(limit)) = (&check.starting, limit) {
        let end = waiting.since.saturating_add(SignedDuration::from_secs(limit)).unwrap_or(Timestamp::MAX);
        context.polls.sooner(&uid, end);
    }
    Ok(PodCheck { last_failure, ..check })
}

struct Look<'a> {
    context: &'a Context,
    job: &'a MapReduceJob,
    child: Child,
    run: &'a ChildJob,
    now: Timestamp,
    api: &'a Api<Pod>,
    again: Duration,
}

impl Look<'_> {
    async fn look(&mut self, stopping: bool, wanted: i32) -> Result<PodCheck, ReadError> {
        let run = self.run;
        let grace = signed(self.context.limits.start_grace);
        let overdue = signed(self.context.limits.lost_node_timeout);
        let now = self.now;
        let mut pending = pods::Pending::default();
        let mut late = Vec::new();
        let mut disrupted = pods::Disruptions::default();
        pages(self.api, run, "Pending", |pod| {
            disrupted.add(&pod.metadata);
            if pods::is_overdue(&pod, now, overdue) {
                late.push(pod);
            } else {
                pending.add(pod);
            }
            true
        })
        .await?;
        let mut sidecar = None;
        let mut running = 0;
        let mut unready = None;
        if run.terminating > 0 || run.active - run.ready > pending.count() {
            pages(self.api, run, "Running", |pod| {
                disrupted.add(&pod.metadata);
                if pods::is_overdue(&pod, now, overdue) {
                    late.push(pod);
                } else {
                    running += i32::from(pods::worker_runs(&pod));
                    if sidecar.is_none() {
                        sidecar = pods::sidecar_goes_on(&pod, now, grace);
                    }
                    if unready.is_none() && pods::is_unready(&pod, now, grace) {
                        unready = Some(pod);
                    }
                }
                true
            })
            .await?;
        }
        let lost = self.on_lost_nodes(late).await?;
        if stopping {
            return Ok(PodCheck { lost, ..PodCheck::nothing(Starting::Unread) });
        }
        let look_again = unready.is_some().then_some(self.again);
        let store_away = match unready {
            Some(pod) => self.store_away(&pod).await?,
            None => None,
        };
        let disrupted = disrupted.sum();
        let found =
            |starting| PodCheck { starting, lost, disrupted, store_away, look_again, last_failure: None };
        let none_started = sidecar.is_none() && run.active - run.ready <= pending.count();
        let stuck = match pending.stuck() {
            Some(stuck) => Some(stuck),
            None => match self.creating(&pending).await? {
                Some(stuck) => Some(stuck),
                None => sidecar,
            },
        };
        let waiting = |since: Timestamp, stuck: Option<Stuck>| {
            let others_run = run.ready > 0 || running > 0;
            Starting::Waiting(Waiting { since, stuck, again: self.again, others_run, none_started })
        };
        if let Some(since) = pending.since() {
            return Ok(found(waiting(since, stuck)));
        }
        let since = run.start_time.as_ref().map_or(now, |t| t.0);
        if stuck.is_some() {
            return Ok(found(waiting(since, stuck)));
        }
        if run.active + run.terminating < wanted {
            let none_made = run.active == 0 && run.terminating == 0 && run.succeeded == 0 && run.failed == 0;
            let refused = self.failed_create().await?;
            let unknown = || Stuck {
                reason: "FailedCreate".to_owned(),
                message: format!("Job {} has made no pods: its events say why", self.child.name_in(self.job)),
            };
            if let Some(stuck) = refused.or_else(|| none_made.then(unknown)) {
                return Ok(found(waiting(since, Some(stuck))));
            }
        }
        Ok(found(Starting::All))
    }

    /// Which store a pod waits for that runs and isn't ready: its probe says so, and the kubelet repeats it.
    async fn store_away(&self, pod: &Pod) -> Result<Option<String>, ReadError> {
        let uid = pod.uid().unwrap_or_default();
        let told = self.events(&format!("regarding.uid={uid},reason=Unhealthy")).await?;
        let newest = told.into_iter().max_by_key(pods::event_time);
        let limit = self.job.spec.storage.timeout_seconds;
        Ok(newest.and_then(|event| event.note).and_then(|note| {
            let (_, stores) = note.trim().split_once(STORE_AWAY)?;
            Some(format!(
                "waiting for a store that is away: {stores} (at most spec.storage.timeoutSeconds: {limit})"
            ))
        }))
    }

    /// Why the containers of the pod that has waited longest aren't made: a volume, the network.
    async fn creating(&self, pending: &pods::Pending) -> Result<Option<Stuck>, ReadError> {
        let Some(pod) = pending.longest_creating() else { return Ok(None) };
        let age = pods::age(pod, self.now);
        if age < signed(self.context.limits.start_grace) {
            return Ok(None);
        }
        let uid = pod.uid().unwrap_or_default();
        let told = self.events(&format!("regarding.uid={uid},type=Warning")).await?;
        if let Some(event) = told.into_iter().max_by_key(pods::event_time)
            && let Some(note) = event.note
        {
            let reason = event.reason.unwrap_or_else(|| "ContainerCreating".to_owned());
            return Ok(Some(Stuck {
                reason,
                message: format!("pod {} can't start: {note}", pod.name_any()),
            }));
        }
        let long = signed(self.context.limits.start_grace.saturating_mul(CREATING_GRACES.unsigned_abs()));
        Ok((age >= long).then(|| Stuck {
            reason: "ContainerCreating".to_owned(),
            message: format!(
                "the containers of pod {} have not been made within {} s: its image is being pulled, or a volume is missing",
                pod.name_any(),
                age.as_secs()
            ),
        }))
    }

    /// What the Job controller says of pods that it can't make: a quota, an admission policy.
    async fn failed_create(&self) -> Result<Option<Stuck>, ReadError> {
        let told = self.events(&format!("regarding.uid={},reason=FailedCreate", self.run.uid)).await?;
        let newest = told.into_iter().max_by_key(pods::event_time).filter(|event| {
            pods::event_time(event).is_none_or(|at| self.now.duration_since(at) < FAILED_CREATE_LASTS)
        });
        Ok(newest.and_then(|event| event.note).map(|note| {
            let remedy = pods::quota_remedy(&note, self.child, &steps::at(self.job).path());
            let message = remedy.map_or_else(|| note.clone(), |remedy| format!("{note}: {remedy}"));
            Stuck { reason: "FailedCreate".to_owned(), message }
        }))
    }

    /// Events of the namespace; none without the right to list them, which is optional.
    async fn events(&self, fields: &str) -> Result<Vec<Event>, ReadError> {
        let api: Api<Event> = self.context.api(self.job);
        match api.list(&ListParams::default().fields(fields).limit(50)).await {
            Ok(events) => Ok(events.items),
            Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(Vec::new()),
            Err(e) => Err(reading("events")(e)),
        }
    }

    /// Those of the pods whose node is gone or doesn't answer.
    async fn on_lost_nodes(&self, late: Vec<Pod>) -> Result<Vec<LostPod>, ReadError> {
        let mut nodes: HashMap<String, bool> = HashMap::new();
        let mut lost = Vec::new();
        for pod in late {
            let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { continue };
            let is_lost = match nodes.get(&node) {
                Some(known) => *known,
                None => is_lost(&self.context.client, &node).await?,
            };
            nodes.insert(node.clone(), is_lost);
            if is_lost {
                lost.push(LostPod { name: pod.name_any(), uid: pod.uid().unwrap_or_default(), node });
            }
        }
        Ok(lost)
    }
}

/// Whether a node is gone, or has not said for a while that it is well.
async fn is_lost(client: &Client, node: &str) -> Result<bool, ReadError> {
    match Api::<Node>::all(client.clone()).get_opt(node).await {
        Ok(None) => Ok(true),
        Ok(Some(node)) => {
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            Ok(conditions.iter().any(|c| c.type_ == "Ready" && c.status == "Unknown"))
        }
        // With Roles alone nodes can't be read.
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(false),
        Err(e) => Err(reading("node")(e)),
    }
}
