//! What is needed to make a run's result visible, and to remove what it leaves.

use std::sync::Arc;

use mapreduce_api::v1alpha1::MapReduceJobSpec;

use crate::commit::owner::Owner;
use crate::commit::record::CommitLog;
use crate::commit::sign::RunPlaces;
use crate::error::Result;
use crate::step::{RunContext, StepDefinition};
use crate::storage::Location;

/// A run, as it ends.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The last step: its spec says what may be there, and what is removed.
    pub last_step: Arc<StepDefinition>,
    /// The run, and who asks it to stop.
    pub context: RunContext,
    /// The run as locks and work folders name it.
    pub owner: Owner,
    /// The output prefix.
    pub output: Location,
    /// The prefix of parts that are not visible yet.
    pub staging: Location,
    /// The prefix of all intermediate data.
    pub folder: Location,
    /// The work folder of each step: plan, commit records.
    pub works: Vec<Location>,
}

impl Publication {
    /// What the user wrote.
    pub fn spec(&self) -> &MapReduceJobSpec {
        &self.last_step.spec
    }

    /// The last step's work folder.
    pub fn last_work(&self) -> &Location {
        self.works.last().unwrap_or(&self.folder)
    }

    /// The commit log of each step, in their order.
    pub fn logs(&self) -> impl Iterator<Item = CommitLog> {
        self.works.iter().map(|work| CommitLog { work: work.clone(), staging: self.staging.clone() })
    }

    /// Where it works, for its sign and its uploads.
    pub fn run_places(&self) -> RunPlaces<'_> {
        RunPlaces { output: &self.output, staging: &self.staging, folder: &self.folder }
    }

    /// An error once somebody has asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        self.context.check_cancelled()
    }

    /// The same with stores that cancelling doesn't touch: for what has to be done last.
    #[must_use]
    pub fn uninterrupted(&self) -> Self {
        Self {
            output: self.output.uninterrupted(),
            staging: self.staging.uninterrupted(),
            folder: self.folder.uninterrupted(),
            works: self.works.iter().map(Location::uninterrupted).collect(),
            ..self.clone()
        }
    }
}
