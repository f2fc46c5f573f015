//! What a user's function is told of the attempt that it works for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::Counters;
use tokio_util::sync::CancellationToken;

use crate::job::Job;
use crate::shuffle::gain::Gain;
use crate::shuffle::space::Space;
use crate::storage::Stores;

/// An attempt at a task, as its functions see it.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// The run.
    pub job_id: String,
    /// The job's name.
    pub job_name: String,
    /// The task.
    pub task: TaskId,
    /// The partition that is reduced; the task's number for a map task.
    pub partition: u32,
    /// The attempt.
    pub attempt: AttemptId,
    /// Whether the map function reads the pairs of the step before, and not the job's input.
    pub reads_pairs: bool,
    /// Asks the function to stop.
    pub cancel: CancellationToken,
    /// A function that makes no progress for this long has failed.
    pub timeout: Duration,
    /// Where its files go.
    pub scratch: PathBuf,
    /// The stores that the job reaches.
    pub stores: Arc<Stores>,
    /// The user's counters.
    pub counters: UserCounters,
    /// Whether adding up has paid so far.
    pub gain: Arc<Gain>,
}

impl TaskContext {
    /// The context of an attempt at a task of a job.
    pub fn new(job: &Job, task: TaskId, partition: u32, attempt: &AttemptId, space: &Space) -> Self {
        Self::of(job, task, partition, attempt.clone(), space.folder())
    }

    /// The context of a look at what the map function emits.
    pub fn for_sample(job: &Job) -> Self {
        Self::of(job, TaskId::map(0), 0, AttemptId::new("sample"), std::env::temp_dir())
    }

    fn of(job: &Job, task: TaskId, partition: u32, attempt: AttemptId, scratch: PathBuf) -> Self {
        Self {
            job_id: job.file.id.to_string(),
            job_name: job.file.name.clone(),
            task,
            partition,
            attempt,
            reads_pairs: job.format.is_pairs(),
            cancel: job.cancel.clone(),
            timeout: Duration::from_secs(job.file.spec.task_timeout_seconds.max(1).unsigned_abs()),
            scratch,
            stores: Arc::clone(&job.stores),
            counters: UserCounters::default(),
            gain: Arc::clone(&job.gain),
        }
    }
}

#[cfg(test)]
impl TaskContext {
    /// The context of a task that is no job's.
    pub(crate) fn of_no_job() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cancel = CancellationToken::new();
        let folder = std::env::temp_dir();
        let stores = Stores::new(
            mapreduce_api::v1alpha1::Storage::default(),
            &folder,
            runtime.handle().clone(),
            cancel.clone(),
        );
        Self {
            job_id: "run-1".to_owned(),
            job_name: "test".to_owned(),
            task: TaskId::map(0),
            partition: 0,
            attempt: AttemptId::new("0"),
            reads_pairs: false,
            cancel,
            timeout: Duration::from_mins(1),
            scratch: folder,
            stores: Arc::new(stores),
            counters: UserCounters::default(),
            gain: Arc::default(),
        }
    }
}

/// The counters that the functions of an attempt share.
#[derive(Clone, Debug, Default)]
pub struct UserCounters(Arc<Mutex<Counters>>);

impl UserCounters {
    /// Adds to a counter.
    pub fn count(&self, group: &str, name: &str, n: i64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(group, name, n);
    }

    /// Moves what was counted to the attempt's counters.
    pub fn move_to(&self, counters: &mut Counters) {
        counters.add(&std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}
