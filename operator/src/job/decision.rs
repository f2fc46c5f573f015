//! What can be decided of a job: one write, or when to look again.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt as _;
use mapreduce_api::v1alpha1::{MapReduceJob, MapReduceJobStatus};

use super::FINALIZER;
use super::build::jobs::Size;
use super::build::names::Child;
use super::observed::LostPod;

/// The next write, and when to look again if nothing happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The write.
    pub write: ApiWrite,
    /// When to look again, where there is no write.
    pub wake: Option<Duration>,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiWrite {
    /// None.
    Rest,
    /// Add the finalizer: it holds the job until its intermediate data is removed.
    AddFinalizer,
    /// Remove the finalizer; a note if the cleanup is incomplete.
    RemoveFinalizer(Option<String>),
    /// Record this.
    Record(Box<MapReduceJobStatus>),
    /// Make a Job.
    Create(Child, Size),
    /// Change the Job of this UID.
    Patch(Child, String, Change),
    /// Have Kueue hold the Job of this UID, or not any more.
    Hold(Child, String, bool),
    /// Delete a Job, and wait for its pods.
    Delete(Child, String),
    /// Delete a Job, with its ConfigMap, that an earlier job of the name has left.
    DeleteOrphan(Child, String),
    /// End pods on a lost node.
    RemovePods(Vec<LostPod>),
    /// Delete the job: its time after the end is over.
    DeleteSelf,
}

/// A change of a Job: no other field is ever touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// `suspend`.
    pub suspend: Option<bool>,
    /// `parallelism`.
    pub parallelism: Option<i32>,
    /// The labels that a watch finds it by.
    pub labels: bool,
    /// `activeDeadlineSeconds`: how a Job is ended without removing the pods that say why.
    pub deadline: Option<i64>,
}

impl Decision {
    /// A write.
    pub fn write(write: ApiWrite) -> Self {
        Self { write, wake: None }
    }

    /// No write; look again then.
    pub fn rest(wake: Option<Duration>) -> Self {
        Self { write: ApiWrite::Rest, wake }
    }
}

/// Whether the job is held until its intermediate data is removed.
pub fn is_held(job: &MapReduceJob) -> bool {
    job.finalizers().iter().any(|f| f == FINALIZER)
}

/// A wait until then, a moment longer so that it is over when we look; recorded times are whole seconds.
pub fn until(left: SignedDuration) -> Duration {
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(50)
}

/// The sooner of two times to look again.
pub fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
