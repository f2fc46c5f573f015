//! `_SUCCESS`: what it says, what it tells of a run, and how it appears.

use std::time::Duration;

use mapreduce_api::ids::JobId;
use mapreduce_api::wire::{Counters, StepCounters};
use serde::{Deserialize, Serialize};

use super::mark;
use super::publication::Publication;
use crate::error::{Error, Result};
use crate::machine::clock;
use crate::output::replaceable::SUCCESS;
use crate::storage::{Created, Location, Staged};

/// A part of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputObject {
    /// The URL.
    pub url: String,
    /// The bytes.
    pub bytes: u64,
    /// The records.
    pub records: u64,
}

/// The content of `_SUCCESS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// The job's name.
    pub name: String,
    /// The run that wrote it.
    pub id: JobId,
    /// Sums over the committed attempts of all tasks.
    pub counters: Counters,
    /// The same for each step of a job with `spec.steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepCounters>,
    /// What the largest reduce task of the last step was given, in percent of the median.
    #[serde(rename = "skewPercent", default, skip_serializing_if = "Option::is_none")]
    pub skew_percent: Option<u64>,
    /// The parts.
    pub outputs: Vec<OutputObject>,
    /// The runs whose results this one has replaced, the last first: a process of theirs that comes late learns of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaced: Vec<JobId>,
}

/// What has become of a run, by the `_SUCCESS` at its output prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has not published.
    Open,
    /// It has.
    Succeeded(Success),
    /// It had, and this run has replaced its result.
    Replaced(JobId),
}

/// Bytes of a `_SUCCESS` that are looked at: of 100,000 parts with long names it has 30 MiB.
pub(super) const MAX_SUCCESS: u64 = 64 << 20;

/// The `_SUCCESS` of this very run, if it is there.
pub fn succeeded(run: &Publication) -> Result<Option<Success>> {
    Ok(read_success(run)?.filter(|success| success.id == run.context.id))
}

/// What has become of this run.
pub fn fate(run: &Publication) -> Result<Fate> {
    Ok(match read_success(run)? {
        Some(success) if success.id == run.context.id => Fate::Succeeded(success),
        Some(success) if success.replaced.contains(&run.context.id) => Fate::Replaced(success.id),
        _ => Fate::Open,
    })
}

/// Any run's `_SUCCESS`.
pub(super) fn read_success(run: &Publication) -> Result<Option<Success>> {
    let place = run.output.join(SUCCESS);
    let bytes = place.store.get(&place.key)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A `_SUCCESS` that is staged. A write could still be done when its sender has given up and all has been cleaned
/// up; a completion can't, once what was staged is aborted. That happens unless it is completed.
pub(super) struct StagedSuccess {
    output: Location,
    staging: Location,
    pub(super) staged: Staged,
    completed: bool,
}

/// Times that the completion of `_SUCCESS` is asked for, while it isn't known whether it is done.
const COMPLETIONS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

impl StagedSuccess {
    pub(super) fn new(run: &Publication, success: &Success) -> Result<Self> {
        let json = serde_json::to_vec_pretty(success)
            .map_err(|e| Error::permanent("can't write _SUCCESS").because(e))?;
        let key = run.output.join(SUCCESS).key;
        let mut writer = run.output.store.stage(&key, &run.staging.key)?;
        writer.write(&json)?;
        let staged = writer.finish()?;
        let Publication { output, staging, .. } = run.uninterrupted();
        Ok(Self { output, staging, staged, completed: false })
    }

    /// Gives the result that stands: another attempt of the run may have been quicker, and have counted other requests.
    pub(super) fn complete(mut self, success: Success, replaces: bool) -> Result<Success> {
        let place = self.output.join(SUCCESS);
        let mut pause = PAUSE;
        for last in (0..COMPLETIONS).rev() {
            let done = if replaces {
                place.store.complete(&place.key, &self.staged)
            } else {
                place.store.complete_new(&place.key, &self.staged)
            };
            match done {
                Ok(Created::New) => {
                    self.completed = true;
                    return Ok(success);
                }
                Ok(Created::Exists) => break,
                Err(error) if !error.is_retryable() || last == 0 => {
                    // What was asked for may be done, but no longer when this is.
                    mark::abort_success(&self.output, &self.staging, &self.staged)?;
                    return there(&place, &success)?.ok_or(error);
                }
                Err(_) => {
                    if let Some(success) = there(&place, &success)? {
                        return Ok(success);
                    }
                }
            }
            clock::sleep(pause);
            pause *= 2;
        }
        there(&place, &success)?.ok_or_else(|| {
            Error::permanent(format!("{} is there: another run was first", place.url(&place.key)))
        })
    }
}

impl Drop for StagedSuccess {
    fn drop(&mut self) {
        if !self.completed
            && let Err(error) = mark::abort_success(&self.output, &self.staging, &self.staged)
        {
            tracing::warn!(%error, causes = error.causes_text(), "A `_SUCCESS` that was staged is left.");
        }
    }
}

/// This run's `_SUCCESS`, where it is there.
fn there(place: &Location, success: &Success) -> Result<Option<Success>> {
    let there = place.store.start(&place.key, MAX_SUCCESS)?;
    let there = there.and_then(|there| serde_json::from_slice::<Success>(&there).ok());
    Ok(there.filter(|there| there.id == success.id))
}
