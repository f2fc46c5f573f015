//! Names of a job's children. They are fixed, so that two passes (or two operators) that both think a
//! child is missing make one, not two.

use std::fmt;

use kube::ResourceExt as _;
use mapreduce_api::v1alpha1::{JobPhase, MapReduceJob};

use crate::job::steps;

/// The container that runs tasks.
pub const WORKER: &str = "worker";
/// The key of a run's description in its ConfigMap, and its file in a pod.
pub const DESCRIPTION: &str = "job.json";

/// The Jobs that a job may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Child {
    /// Lists the input and cuts it into splits.
    Plan,
    /// Runs map tasks.
    Map,
    /// Runs reduce tasks.
    Reduce,
    /// Says once more what the plan or the last task said.
    Report,
    /// Removes intermediate data.
    Cleanup,
}

impl Child {
    /// The Jobs of the phases, in their order.
    pub const PHASES: [Self; 3] = [Self::Plan, Self::Map, Self::Reduce];

    /// All of them.
    pub const ALL: [Self; 5] = [Self::Plan, Self::Map, Self::Reduce, Self::Report, Self::Cleanup];

    /// The Job of a phase.
    pub fn of(phase: JobPhase) -> Option<Self> {
        match phase {
            JobPhase::Planning => Some(Self::Plan),
            JobPhase::Mapping => Some(Self::Map),
            JobPhase::Reducing => Some(Self::Reduce),
            JobPhase::Pending | JobPhase::Succeeded | JobPhase::Failed => None,
        }
    }

    /// The worker's subcommand, the end of the Job's name, and the value of the phase label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Map => "map",
            Self::Reduce => "reduce",
            Self::Report => "report",
            Self::Cleanup => "cleanup",
        }
    }

    /// The Job's name, with the step's number in a job with steps. With the 50 characters that a job's
    /// name may have (46 with steps), a task's number and separators this is within the 63 of a pod's
    /// host name.
    pub fn name(self, job: &str, step: Option<i32>) -> String {
        format!("{job}-{}", self.end_of_name(step))
    }

    /// What follows the job's name in it.
    pub fn end_of_name(self, step: Option<i32>) -> String {
        match step {
            // The data of all steps is removed at once.
            Some(step) if self != Self::Cleanup => format!("{step}-{}", self.word()),
            _ => self.word().to_owned(),
        }
    }

    /// The name of the Job of the step that a job is at.
    pub fn name_in(self, job: &MapReduceJob) -> String {
        self.name(&job.name_any(), steps::at(job).number())
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The name of the ConfigMap that only the cleanup of a deleted job reads.
pub fn cleanup_config_map(job: &str) -> String {
    format!("{job}-cleanup")
}

/// The name of the ConfigMap with the run's revision.
pub fn config_map(job: &str) -> String {
    format!("{job}-job")
}
