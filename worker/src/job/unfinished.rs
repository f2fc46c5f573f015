//! What an attempt has written and not committed: it goes when the attempt fails.

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::Counters;

use super::Job;
use crate::commit::record::Commit;
use crate::error::{Error, Result};
use crate::shuffle::object::ShuffleObject;
use crate::step::Places;
use crate::task::patiently;
use crate::task::result::WrittenResult;

/// What an attempt has written so far.
#[derive(Debug)]
pub(super) struct Unfinished<'a> {
    job: &'a Job,
    record: Option<Commit>,
}

impl<'a> Unfinished<'a> {
    /// Nothing yet.
    pub(super) fn new(job: &'a Job, attempt: &AttemptId) -> Self {
        Self { job, record: Some(Commit::new(attempt)) }
    }

    /// Adds a result.
    pub(super) fn add(&mut self, written: WrittenResult, counters: &Counters) {
        if let Some(record) = &mut self.record {
            written.add_to(record, counters);
        }
    }

    /// Adds a map task's shuffle data.
    pub(super) fn set_shuffle(&mut self, shuffle: Option<ShuffleObject>, counters: &Counters) {
        if let Some(record) = &mut self.record {
            record.shuffle = shuffle;
            record.counters.add(counters);
        }
    }

    /// The record of an attempt that has succeeded, with what is known now.
    pub(super) fn completed(mut self, task: TaskId) -> Result<Commit> {
        if let Some(record) = &mut self.record {
            record.skipped = self.job.run().skipped.finish(task, &record.attempt)?;
            record.counters.skipped_records =
                record.skipped.as_ref().map_or(0, |skipped| skipped.part.records);
            record.counters.failed_tasks = self.job.run().failed_before;
        }
        self.record.take().ok_or_else(|| Error::retry("an attempt has ended twice"))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take()
            && let Err(error) = discard(self.job, &record)
        {
            tracing::warn!(%error, causes = error.causes_text(), "What a failed attempt had written is left.");
        }
    }
}

/// Removes what an attempt has written that will not count.
pub(super) fn discard(job: &Job, record: &Commit) -> Result<()> {
    let Places { output, work, pairs, .. } = job.places().uninterrupted();
    patiently(|| {
        if let Some(object) = record.shuffle.as_ref().filter(|object| !object.is_with_record()) {
            work.store.delete(&[work.join(&object.name).key])?;
        }
        record.pairs.iter().try_for_each(|object| pairs.delete(&object.name))?;
        record.staged().try_for_each(|part| output.store.abort(&output.join(&part.name).key, &part.staged))
    })
}
