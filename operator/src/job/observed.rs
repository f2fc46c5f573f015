//! What a pass has seen: plain data, so that decisions can be tested without an API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use mapreduce_api::wire::{JobSummary, PlanSummary};
use std::time::Duration;

use super::build::labels;
use super::build::names::Child;
use crate::child_objects::ChildObject;
use crate::creations::Creation;

/// What a pass has seen beside the job itself.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When.
    pub now: Timestamp,
    /// `NAME-plan`.
    pub plan: ChildState,
    /// `NAME-map`.
    pub map: ChildState,
    /// `NAME-reduce`.
    pub reduce: ChildState,
    /// `NAME-report`, where somebody has to be asked again.
    pub report: ChildState,
    /// What it has said.
    pub restated: PodReport,
    /// `NAME-cleanup`.
    pub cleanup: ChildState,
    /// What the pods of the phase's Job said at its end.
    pub words: PodReport,
    /// Whether its pods can start.
    pub starting: Starting,
    /// Pods that a lost node keeps from ending.
    pub lost_pods: Vec<LostPod>,
    /// Pods of the phase that the cluster has ended, as far as they were seen.
    pub disrupted: i32,
    /// Which store its pods wait for, and since when.
    pub store_away: Option<String>,
    /// When to look again at pods that run and don't get on.
    pub look_again: Option<Duration>,
    /// Why the last attempt at a task failed, where one has failed since the last look.
    pub last_failure: Option<String>,
    /// How often the children that matter were made.
    pub creations: Vec<(Child, Creation)>,
    /// Kueue's Workload of the phase's Job, where that is queued and may have to be held.
    pub workload: Workload,
    /// Nothing can be created in the namespace any more.
    pub namespace_terminating: bool,
    /// What the API server said to this pass's last creation.
    pub refused: Option<Refusal>,
}

impl Observed {
    /// Nothing seen yet.
    pub fn nothing(now: Timestamp) -> Self {
        Self {
            now,
            plan: ChildState::Unread,
            map: ChildState::Unread,
            reduce: ChildState::Unread,
            report: ChildState::Unread,
            restated: PodReport::Unread,
            cleanup: ChildState::Unread,
            words: PodReport::Unread,
            starting: Starting::Unread,
            lost_pods: Vec::new(),
            disrupted: 0,
            store_away: None,
            look_again: None,
            last_failure: None,
            creations: Vec::new(),
            workload: Workload::Unknown,
            namespace_terminating: false,
            refused: None,
        }
    }

    /// Takes over what an earlier look in the same pass has seen of pods, and what isn't looked for twice.
    pub fn take_over(&mut self, earlier: PodsSeen) {
        self.last_failure = self.last_failure.take().or(earlier.last_failure);
        self.store_away = self.store_away.take().or(earlier.store_away);
        self.look_again = self.look_again.or(earlier.look_again);
        self.disrupted = self.disrupted.max(earlier.disrupted);
        if let (Starting::NotDue(_), Some(waiting)) = (&self.starting, earlier.waiting) {
            self.starting = Starting::Waiting(waiting);
        }
    }

    /// What this look has seen of pods.
    pub fn pods_seen(&self) -> PodsSeen {
        let waiting = match &self.starting {
            Starting::Waiting(waiting) => Some(waiting.clone()),
            _ => None,
        };
        PodsSeen {
            last_failure: self.last_failure.clone(),
            waiting,
            store_away: self.store_away.clone(),
            look_again: self.look_again,
            disrupted: self.disrupted,
        }
    }

    /// What has the name of this child.
    pub fn child(&self, child: Child) -> &ChildState {
        match child {
            Child::Plan => &self.plan,
            Child::Map => &self.map,
            Child::Reduce => &self.reduce,
            Child::Report => &self.report,
            Child::Cleanup => &self.cleanup,
        }
    }

    /// How often the child was made.
    pub fn creation(&self, child: Child) -> Option<&Creation> {
        self.creations.iter().find(|(of, _)| *of == child).map(|(_, creation)| creation)
    }

    /// The same, to be filled.
    pub fn child_mut(&mut self, child: Child) -> &mut ChildState {
        match child {
            Child::Plan => &mut self.plan,
            Child::Map => &mut self.map,
            Child::Reduce => &mut self.reduce,
            Child::Report => &mut self.report,
            Child::Cleanup => &mut self.cleanup,
        }
    }
}

/// What was seen of pods, and isn't looked for again for a while.
#[derive(Clone, Debug, Default)]
pub struct PodsSeen {
    last_failure: Option<String>,
    waiting: Option<Waiting>,
    store_away: Option<String>,
    look_again: Option<Duration>,
    disrupted: i32,
}

/// What has the name of a child.
#[derive(Clone, Debug, PartialEq)]
pub enum ChildState {
    /// Not looked at.
    Unread,
    /// Nothing.
    Absent,
    /// A child of an earlier job of the same name; the garbage collector is about to remove it.
    Leftover,
    /// A child of an earlier job of the same name that nobody owns any more: it was deleted with
    /// `--cascade=orphan`. This is its UID.
    Orphan(String),
    /// Somebody else's object.
    Foreign,
    /// Our child.
    Ours(ChildJob),
}

impl ChildState {
    /// Our child.
    pub fn ours(&self) -> Option<&ChildJob> {
        match self {
            Self::Ours(job) => Some(job),
            _ => None,
        }
    }
}

/// The part of a Job that matters.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChildJob {
    /// The UID.
    pub uid: String,
    /// The digest of the revision that it was made from.
    pub revision: Option<String>,
    /// Where it is.
    pub state: JobState,
    /// It is being deleted.
    pub deleting: bool,
    /// `spec.suspend`.
    pub suspended: bool,
    /// It has the labels that a watch finds it by.
    pub labelled: bool,
    /// It has a queue: Kueue says when it runs, and with how many pods.
    pub queued: bool,
    /// `spec.parallelism`.
    pub parallelism: i32,
    /// `spec.completions`.
    pub completions: i32,
    /// `spec.activeDeadlineSeconds`.
    pub deadline: Option<i64>,
    /// Pods that are there.
    pub active: i32,
    /// Of these, running and ready.
    pub ready: i32,
    /// Pods that are ending.
    pub terminating: i32,
    /// Tasks done.
    pub succeeded: i32,
    /// Attempts failed.
    pub failed: i32,
    /// When it was made.
    pub created: Option<Time>,
    /// When it was first active.
    pub start_time: Option<Time>,
    /// When its last task was done.
    pub completion_time: Option<Time>,
}

/// Where a Job is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JobState {
    /// Tasks are left.
    #[default]
    Running,
    /// All tasks are done.
    Complete,
    /// It will have failed once its pods have ended; why.
    Failing(String),
    /// It has failed, and has no pods any more; why.
    Failed(String),
}

/// Time in which it is worth asking how many pods of a phase the cluster has ended.
const LONG: SignedDuration = SignedDuration::from_secs(10);

impl ChildJob {
    /// Whether it waits for Kueue to admit it.
    pub fn is_in_queue(&self) -> bool {
        self.queued && self.suspended && !self.is_finished()
    }

    /// Whether it has done its tasks, and was at it for so long that nodes may have been drained meanwhile.
    pub fn has_run_for_long(&self) -> bool {
        let times = self.start_time.as_ref().zip(self.completion_time.as_ref());
        self.state == JobState::Complete
            && times.is_some_and(|(start, end)| end.0.duration_since(start.0) >= LONG)
    }

    /// Whether no pod of it runs or will run.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, JobState::Complete | JobState::Failed(_))
    }

    /// Whether a pod of it is known to have started.
    pub fn has_started(&self) -> bool {
        self.state != JobState::Running || self.ready > 0 || self.succeeded > 0 || self.failed > 0
    }

    /// Whether a pod of it may still write: one that runs, or will.
    pub fn may_write(&self) -> bool {
        // A Job that is being deleted makes no more pods, and those that have ended hold it only.
        let none_left = self.deleting && self.active == 0 && self.terminating == 0;
        !self.is_finished() && !none_left
    }

    /// Whether it has tasks left and no pods, not even some that are ending. One that is suspended may have pods that have
    /// failed, and keeps them.
    pub fn is_without_pods(&self) -> bool {
        !self.is_finished() && self.active == 0 && self.terminating == 0
    }
}

impl From<&ChildObject> for ChildJob {
    fn from(job: &ChildObject) -> Self {
        let (spec, status) = (&job.spec, &job.status);
        let condition = |kind: &str| {
            let found = status.condition(kind)?;
            let reason = found.reason.as_deref().unwrap_or_default();
            let message = found.message.as_deref().unwrap_or_default();
            Some(format!("{reason}: {message}").trim_matches([':', ' ']).to_owned())
        };
        let state = if condition("Complete").is_some() {
            JobState::Complete
        } else if let Some(why) = condition("Failed") {
            JobState::Failed(why)
        } else if let Some(why) = condition("FailureTarget") {
            JobState::Failing(why)
        } else {
            JobState::Running
        };
        // A Job that fails is seen to do so before its controller has counted the pod that was at fault.
        let uncounted = status.uncounted_terminated_pods.as_ref().and_then(|pods| pods.failed.as_ref());
        let label = |name: &str| job.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        Self {
            uid: job.metadata.uid.clone().unwrap_or_default(),
            revision: job.metadata.annotations.as_ref().and_then(|a| a.get(labels::REVISION).cloned()),
            state,
            labelled: label(labels::MANAGED_BY).is_some_and(|by| by == labels::OPERATOR),
            created: job.metadata.creation_timestamp.clone(),
            deleting: job.metadata.deletion_timestamp.is_some(),
            suspended: spec.suspend.unwrap_or(false),
            queued: label(labels::QUEUE).is_some(),
            parallelism: spec.parallelism.unwrap_or(1),
            completions: spec.completions.unwrap_or(1),
            deadline: spec.active_deadline_seconds,
            active: status.active.unwrap_or(0),
            ready: status.ready.unwrap_or(0),
            terminating: status.terminating.unwrap_or(0),
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0) + uncounted.map_or(0, Vec::len) as i32,
            start_time: status.start_time.clone(),
            completion_time: status.completion_time.clone(),
        }
    }
}

/// What the pods of a finished Job said.
#[derive(Clone, Debug, PartialEq)]
pub enum PodReport {
    /// Not asked.
    Unread,
    /// The plan is in the bucket.
    Planned(PlanSummary),
    /// The output is committed.
    Finished(Box<JobSummary>),
    /// An attempt failed.
    Failed(Failure),
    /// Something else.
    Unclear(String),
    /// No pod is left to ask.
    Lost,
}

/// Why a job has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One word.
    pub reason: Reason,
    /// A line, then causes, then the user's traceback.
    pub message: String,
    /// Attempts at the task that have failed, where a pod has made more than one.
    pub attempts: u64,
}

/// The reason of a job that waits for a store which is away, and of one that has waited as long as it may.
pub const STORE_UNAVAILABLE: &str = "StoreUnavailable";

/// Why a job has failed, in one word. These are part of the API: scripts look for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The job violates a rule that its schema can't express.
    InvalidSpec,
    /// A child's name is somebody else's.
    NameTaken,
    /// What the run does is not known any more.
    RevisionLost,
    /// The input could not be planned: a missing object, an output that exists.
    PlanFailed,
    /// A task has used up its attempts, or none could do better.
    TaskFailed,
    /// As `TaskFailed`: its container used more memory than its limit.
    OutOfMemory,
    /// A store was away for as long as the job waits for one.
    StoreUnavailable,
    /// `activeDeadlineSeconds` is over.
    DeadlineExceeded,
    /// `pendingDeadlineSeconds` is over.
    PendingDeadlineExceeded,
    /// A child of the job was deleted again and again.
    ChildLost,
}

impl Reason {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::NameTaken => "NameTaken",
            Self::RevisionLost => "RevisionLost",
            Self::PlanFailed => "PlanFailed",
            Self::TaskFailed => "TaskFailed",
            Self::OutOfMemory => "OutOfMemory",
            Self::StoreUnavailable => STORE_UNAVAILABLE,
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::PendingDeadlineExceeded => "PendingDeadlineExceeded",
            Self::ChildLost => "ChildLost",
        }
    }
}

/// Whether the pods of the phase's Job can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Starting {
    /// Not looked at, as there is nothing to look at.
    Unread,
    /// None waits.
    All,
    /// Some may be waiting; it is looked at this much later.
    NotDue(Duration),
    /// Some wait.
    Waiting(Waiting),
}

/// Pods that wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Since when the longest one has been waiting.
    pub since: Timestamp,
    /// What keeps it from starting, where that is known and time alone won't help.
    pub stuck: Option<Stuck>,
    /// Whether others run meanwhile.
    pub others_run: bool,
    /// Whether they have not even begun: what waits are pods that are to be started or made.
    pub none_started: bool,
    /// When to look again.
    pub again: Duration,
}

/// Why a pod can't start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// One word: `Unschedulable`, `ImagePullBackOff`, `FailedCreate` …
    pub reason: String,
    /// The cluster's own sentence.
    pub message: String,
}

/// A pod on a lost node. It should have ended long ago, and nobody is there to say that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostPod {
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
    /// Where it ran.
    pub node: String,
}

/// Kueue's Workload of a queued Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// There is none, or it can't be read.
    Unknown,
    /// Kueue may admit it, or has.
    Active,
    /// Kueue doesn't admit it.
    Held {
        /// Because its job is suspended.
        by_us: bool,
    },
}

/// A creation that the API server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The child.
    pub child: Child,
    /// Why no further try can succeed; `None` when one may.
    pub permanent: Option<Reason>,
    /// What it said.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ChildJob, JobState};
    use crate::child_objects::ChildObject;

    #[test]
    fn a_suspended_job_without_pods_is_asked_for_its_namespace() {
        let suspended = ChildJob { suspended: true, ..ChildJob::default() };
        assert!(suspended.is_without_pods());
        assert!(!ChildJob { terminating: 1, ..suspended.clone() }.is_without_pods());
        assert!(!ChildJob { state: JobState::Complete, ..suspended }.is_without_pods());
    }

    #[test]
    fn a_pod_that_failed_is_counted_before_its_job_has_counted_it() {
        let job: ChildObject = serde_json::from_value(json!({
            "metadata": {"name": "j"},
            "status": {
                "failed": 1, "uncountedTerminatedPods": {"failed": ["a"], "succeeded": ["b", "c"]},
                "conditions": [{"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy", "message": "m"}],
            },
        }))
        .unwrap();
        let child = ChildJob::from(&job);
        assert_eq!((child.failed, child.state), (2, JobState::Failing("PodFailurePolicy: m".to_owned())));
    }
}
