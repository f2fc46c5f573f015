//! What the operator tells its pods, and what they tell it.
//!
//! ```text
//!  operator ── ConfigMap job.json (JobFile), and its digest in a variable ──> pod
//!  operator <── termination message (Termination, ≤ 4,096 bytes of JSON) ── pod
//!  operator <── event of its readiness probe ("store away: …") ── pod that waits for a store
//! ```

mod counters;
mod termination;

use serde::{Deserialize, Serialize};

pub use counters::{Counters, StepCounters};
pub use termination::{ErrorReport, JobSummary, MAX_TERMINATION_BYTES, PlanSummary, RecordRef, Termination};

use crate::ids::JobId;
use crate::v1alpha1::MapReduceJobSpec;

/// Everything a pod has to know of its job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFile {
    /// The run: the resource's UID.
    pub id: JobId,
    /// The job's name.
    pub name: String,
    /// What the user wrote.
    pub spec: MapReduceJobSpec,
}

/// What a worker's readiness probe says while the worker waits for stores that are away begins like this; a line in
/// which each is named, since when, and why.
pub const STORE_AWAY: &str = "store away: ";

/// The digest of a job's description, byte by byte: the name of a run's revision. It tells two apart; it is no
/// signature.
pub fn digest(description: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(description))
}

/// Environment variables that a pod's container gets beside the user's.
pub mod env {
    /// The pod's UID: the attempt's id.
    pub const ATTEMPT: &str = "MAPREDUCE_ATTEMPT";
    /// Attempts at the pod's task that have failed before, which Kubernetes counts.
    pub const FAILED_BEFORE: &str = "MAPREDUCE_FAILED_BEFORE";
    /// Pods of the task that the cluster has ended before, which Kubernetes counts.
    pub const DISRUPTED_BEFORE: &str = "MAPREDUCE_DISRUPTED_BEFORE";
    /// The number of the task, which Kubernetes sets in pods of an Indexed Job.
    pub const INDEX: &str = "JOB_COMPLETION_INDEX";
    /// `limits.memory` of the container in bytes; set only where the container has such a limit.
    pub const MEMORY_LIMIT: &str = "MAPREDUCE_MEMORY_LIMIT";
    /// The folder with the ConfigMaps' keys that functions are read from, as `NAME/KEY`.
    pub const CONFIG_MAPS: &str = "MAPREDUCE_CONFIG_MAPS";
    /// The digest of the job's description that the pod was made for.
    pub const REVISION: &str = "MAPREDUCE_REVISION";
    /// `spec.cleanup`, as it was when the pod's Job was made: it may be changed while the job runs.
    pub const CLEANUP: &str = "MAPREDUCE_CLEANUP";
    /// Where spills go: an emptyDir.
    pub const SCRATCH: &str = "MAPREDUCE_SCRATCH";
}

/// Exit codes of a worker, for `podFailurePolicy`.
pub mod exit {
    /// The attempt has failed; another one may do better.
    pub const RETRY: u8 = 1;
    /// No attempt can do better: a missing bucket, an output that exists, a changed input.
    pub const PERMANENT: u8 = 3;
    /// A store was away for as long as the job waits for one (`spec.storage.timeoutSeconds`).
    pub const STORE_UNAVAILABLE: u8 = 4;
}
