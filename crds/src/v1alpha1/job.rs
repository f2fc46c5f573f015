//! `MapReduceJobSpec`: the manifest's `spec`, and on a cluster the resource itself.

use serde::{Deserialize, Serialize};

use super::input::Input;
use super::max_failed_tasks::MaxFailedTasks;
use super::output::Output;
use super::phase::{Combine, Map, Reduce};
use super::small::Small;
use super::step::Step;
use super::storage::{Shuffle, Storage};

/// A MapReduce job: input, functions, output, and how it is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::CustomResource, kube::KubeSchema))]
#[cfg_attr(feature = "crd", kube(
    group = "mapreduce.dev",
    version = "v1alpha1",
    kind = "MapReduceJob",
    plural = "mapreducejobs",
    singular = "mapreducejob",
    shortname = "mrj",
    category = "all",
    namespaced,
    status = "super::status::MapReduceJobStatus",
    derive = "PartialEq",
    doc = "A MapReduce job over data in object storage.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Maps", type_ = "string", json_path = ".status.maps.progress"),
    printcolumn(name = "Reduces", type_ = "string", json_path = ".status.reduces.progress"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Step", type_ = "string", priority = 1, json_path = ".status.step.name"),
    printcolumn(name = "Reason", type_ = "string", priority = 1, json_path = ".status.reason"),
    printcolumn(name = "Output", type_ = "string", priority = 1, json_path = ".spec.output.url"),
    validation = ("self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
                  "metadata.name must be a DNS label of at most 50 characters: pods are named after it"),
    validation = ("!has(self.spec.steps) || self.metadata.name.size() <= 46",
                  "metadata.name of a job with steps has at most 46 characters: pods are named after it and a step's number"),
    validation = (super::fixed::RULE, super::fixed::RULE_MESSAGE),
))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("!has(self.combine) || (has(self.reduce) && has(self.reduce.__function__))",
                  "combine requires reduce.function"),
    validation = (crate::v1alpha1::combine::RULE, crate::v1alpha1::combine::RULE_MESSAGE),
    validation = ("!has(self.steps) || (!has(self.map) && !has(self.combine) && !has(self.reduce))",
                  "steps go in place of map, combine and reduce: each step has its own"),
    validation = ("!has(self.steps) || self.steps.all(s, self.steps.exists_one(other, other.name == s.name))",
                  "each of the steps has a name of its own"),
    validation = ("has(self.steps) == has(oldSelf.steps) && (!has(self.steps) || self.steps.map(s, s.name) == oldSelf.steps.map(s, s.name))",
                  "steps can't be added, removed or renamed: make a new job"),
    validation = ("has(self.managedBy) == has(oldSelf.managedBy) && (!has(self.managedBy) || self.managedBy == oldSelf.managedBy)",
                  "managedBy can't be changed"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MapReduceJobSpec {
    /// What to read.
    pub input: Input,

    /// The map phase; `identity` when absent.
    #[serde(default, skip_serializing_if = "Map::is_default")]
    pub map: Map,

    /// A function applied to map output before it is shuffled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<Combine>,

    /// The reduce phase; when absent the job is map-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reduce: Option<Reduce>,

    /// Several maps and reduces in a chain, in place of `map`, `combine` and `reduce`: the first reads
    /// the input, each other the pairs of the one before it, and the last one's result is the output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 32)))]
    pub steps: Vec<Step>,

    /// Where the result goes.
    pub output: Output,

    /// Where intermediate data goes.
    #[serde(default)]
    pub shuffle: Shuffle,

    /// How object stores are reached.
    #[serde(default)]
    pub storage: Storage,

    /// Whether a job of little input runs whole in one pod, on a cluster.
    #[serde(default, skip_serializing_if = "Small::is_default")]
    pub small: Small,

    /// How many more attempts a task gets after its first has failed.
    #[serde(default = "default_retries")]
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 100)))]
    pub retries: i32,

    /// How many pods of a task the cluster may end (drain, preemption, eviction) before the job fails.
    #[serde(default = "default_max_disruptions")]
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 10_000)))]
    pub max_disruptions: i32,

    /// How many map tasks may fail for good: the job goes on without their data. A number, or a percentage of
    /// the map tasks of a step such as `5%`, rounded down.
    #[serde(default, skip_serializing_if = "MaxFailedTasks::is_none")]
    pub max_failed_tasks: MaxFailedTasks,

    /// Bad records that are left out.
    #[serde(default, skip_serializing_if = "SkipBadRecords::is_default")]
    pub skip_bad_records: SkipBadRecords,

    /// An attempt at a task fails when its command or script neither reads nor writes for this long.
    #[serde(default = "default_task_timeout_seconds")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 315_360_000)))]
    pub task_timeout_seconds: i64,

    /// The job fails when it has been running for longer; time spent suspended doesn't count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 315_360_000)))]
    pub active_deadline_seconds: Option<i64>,

    /// The job fails when a pod of it has been waiting to start for longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 315_360_000)))]
    pub pending_deadline_seconds: Option<i64>,

    /// Ends the pods and starts none while true; what has finished stays finished.
    #[serde(default)]
    pub suspend: bool,

    /// The resource and its pods are deleted this long after the job has finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 315_360_000)))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// When intermediate data is removed.
    #[serde(default)]
    pub cleanup: Cleanup,

    /// Who runs the job; a value other than `mapreduce.dev/operator` leaves it to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 63)))]
    pub managed_by: Option<String>,
}

fn default_retries() -> i32 {
    3
}

fn default_max_disruptions() -> i32 {
    20
}

fn default_task_timeout_seconds() -> i64 {
    600
}

impl MapReduceJobSpec {
    /// Whether bad records are left out.
    pub fn skips(&self) -> bool {
        self.skip_bad_records.max > 0
    }
}

/// Bad records that are left out, and written to `_skipped/` under the output with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SkipBadRecords {
    /// How many may be left out of the whole job; with one more the job fails. With 0 the first fails it.
    #[serde(default)]
    #[cfg_attr(feature = "crd", schemars(with = "i64", range(min = 0, max = 1_000_000_000_000_i64)))]
    pub max: u64,
}

impl SkipBadRecords {
    /// Whether nothing is said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When intermediate data is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Cleanup {
    /// When the job has ended, either way, or is deleted.
    #[default]
    Always,
    /// When the job has succeeded; a failed one keeps it for a look.
    OnSuccess,
    /// Never: it is the user's to remove.
    Never,
}
