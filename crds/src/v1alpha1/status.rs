//! What only the cluster sees: the status of a job.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::{Counters, StepCounters};

/// What the operator has observed. Its size does not depend on the number of tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MapReduceJobStatus {
    /// Where the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<JobPhase>,
    /// Why the job is in this phase, in one word; the condition of the same reason says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `Planned`, `MapComplete`, `Complete`, `Failed`, `Suspended`, `Progressing` and `Cleaned`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The digest of what the run does, fixed in the ConfigMap `NAME-job` when its planning began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// No pod of the run has started, and none can: what the run does may still be changed, and its Job is made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amendable: Option<bool>,
    /// When the operator began to work on the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the job succeeded or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What the plan found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<JobInput>,
    /// The step that runs, or ran last, of a job with `spec.steps`; `maps` and `reduces` are its.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<JobStep>,
    /// What the steps that are done have done, without the user's own counters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepCounters>,
    /// Tasks that are done, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// The last step's largest reduce task, in percent of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_percent: Option<i64>,
    /// Map tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<PhaseCounts>,
    /// Reduce tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduces: Option<PhaseCounts>,
    /// Sums over the committed attempts of all tasks of all steps, once the job has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::open_schema::any_object")]
    pub counters: Option<Counters>,
    /// What was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<JobOutput>,
    /// Seconds that the job was active before its last suspension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_seconds_before_suspension: Option<i64>,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JobPhase {
    /// Seen, nothing started.
    Pending,
    /// The input is being listed and cut into splits.
    Planning,
    /// Map tasks run.
    Mapping,
    /// Reduce tasks run.
    Reducing,
    /// The output is committed.
    Succeeded,
    /// The job has ended without output.
    Failed,
}

/// A step of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobStep {
    /// Its name.
    pub name: String,
    /// Its number, from 1.
    pub number: i32,
    /// How many there are.
    pub total: i32,
}

/// How many tasks of a phase are where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseCounts {
    /// Tasks of the plan.
    pub total: i32,
    /// Pods that run now.
    #[serde(default)]
    pub active: i32,
    /// Tasks that are done.
    #[serde(default)]
    pub succeeded: i32,
    /// Attempts that failed by a fault of their own.
    #[serde(default)]
    pub failed: i32,
    /// Pods that the cluster ended, as far as they were seen; no `retries` are spent on them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub disrupted: i32,
    /// `succeeded/total`, for `kubectl get`.
    #[serde(default)]
    pub progress: String,
    /// When the first pods were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the last task was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// From one to the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it this way")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// What the plan found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobInput {
    /// Objects to read.
    pub objects: i64,
    /// Their bytes, as stored.
    pub bytes: i64,
}

/// What a job wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobOutput {
    /// The prefix.
    pub url: String,
    /// Parts written, without `_SUCCESS`.
    pub objects: i64,
    /// Their bytes.
    pub bytes: i64,
    /// Their records.
    pub records: i64,
}

/// A condition as Kubernetes' own types have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it says.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word, in CamelCase.
    pub reason: String,
    /// A sentence, or the user's own traceback.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Time,
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}
