//! What functions are told of an attempt at a task.

use std::sync::Arc;
use std::time::Duration;

use mapreduce_api::ids::{AttemptId, TaskId};

use super::RunStep;
use crate::function::TaskContext;
use crate::function::context::UserCounters;
use crate::machine::variables;
use crate::record::skipped::Skipping;
use crate::record::spill_store::SpillStore;
use crate::scratch::ScratchPlace;

impl RunStep {
    /// The context of an attempt at a task.
    pub fn task_context(
        &self,
        task: TaskId,
        partition: u32,
        attempt: &AttemptId,
        spill_store: &SpillStore,
    ) -> TaskContext {
        let values = ScratchPlace::new(spill_store.folder(), spill_store.values_bytes());
        self.context(task, partition, attempt.clone(), values, self.skipping(task, attempt))
    }

    /// The context of a look at what the map function emits.
    pub fn sample_context(&self) -> TaskContext {
        // A sample need not be complete: whatever is bad is the map task's to tell.
        let skipping = self.spec().skips().then(Skipping::in_silence);
        let values = ScratchPlace::new(variables::temporary_folder(), 0);
        self.context(TaskId::map(0), 0, AttemptId::new("sample"), values, skipping)
    }

    fn context(
        &self,
        task: TaskId,
        partition: u32,
        attempt: AttemptId,
        values: ScratchPlace,
        skipping: Option<Skipping>,
    ) -> TaskContext {
        let step = self.name().map(str::to_owned);
        TaskContext {
            job_id: self.run.id.to_string(),
            job_name: self.run.name.clone(),
            task,
            partition,
            attempt,
            reads_pairs: self.format.is_pairs(),
            cancel: self.run.cancel.clone(),
            timeout: Duration::from_secs(self.spec().task_timeout_seconds.max(1).unsigned_abs()),
            last_resort: self.run.last_resort.with(move |error| error.in_task(task).in_step(step.as_deref())),
            scratch: values.folder.to_path_buf(),
            values,
            stores: Arc::clone(&self.places.stores),
            skipping,
            counters: UserCounters::default(),
        }
    }
}
