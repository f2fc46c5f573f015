//! What a step is told of those before it.

use std::collections::BTreeMap;

use mapreduce_api::wire::{Counters, ErrorReport, StepCounters};
use serde::{Deserialize, Serialize};

use crate::record::pairs::PairsObject;
use crate::record::skipped::SkippedRecords;

/// What the steps that are complete have done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedSteps {
    /// All of them together.
    pub total: Counters,
    /// Each of them, in a job with `spec.steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepCounters>,
    /// The bad records that they have left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedRecords>,
    /// Why there is nothing of some of their tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<ErrorReport>,
    /// The tasks that they had.
    #[serde(default)]
    pub tasks: u32,
    /// What the largest reduce task of the last step was given, in percent of the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_percent: Option<u64>,
}

impl CompletedSteps {
    /// Adds a step of that name, if it has one.
    pub fn add(&mut self, name: Option<&str>, counters: Counters) {
        self.total.add(&counters);
        self.steps.extend(name.map(|name| StepCounters { name: name.to_owned(), counters }));
    }

    /// What the last of them has done, without the user's counters.
    pub fn last(&self) -> Option<Counters> {
        let last = &self.steps.last()?.counters;
        Some(Counters { user: BTreeMap::new(), ..last.clone() })
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The steps that are complete, and what the next one reads of them.
#[derive(Clone, Debug, Default)]
pub struct StepInput {
    /// What the last of them has written, by partition.
    pub objects: Vec<PairsObject>,
    /// What they have done.
    pub done: CompletedSteps,
}
