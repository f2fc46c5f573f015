//! What a user's function is told of the attempt that it works for.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::Counters;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::function::LastResort;
use crate::record::skipped::Skipping;
use crate::scratch::ScratchPlace;
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
    /// What is done about a function that can't be stopped.
    pub last_resort: LastResort,
    /// Where its files go.
    pub scratch: PathBuf,
    /// Where the values of a key are kept.
    pub values: ScratchPlace,
    /// The stores that the job reaches.
    pub stores: Arc<Stores>,
    /// Takes bad records, where they are left out.
    pub skipping: Option<Skipping>,
    /// The user's counters.
    pub counters: UserCounters,
}

#[cfg(test)]
impl TaskContext {
    /// A standalone context, for tests.
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
            last_resort: LastResort::default(),
            values: ScratchPlace::new(folder.clone(), 1 << 20),
            scratch: folder,
            stores: Arc::new(stores),
            skipping: None,
            counters: UserCounters::default(),
        }
    }
}

/// The user's counters that a job may have, as with Hadoop: what is counted by key is data.
const MAX_USER_COUNTERS: usize = 120;
/// Bytes of a group's and a counter's name together.
const MAX_NAME_BYTES: usize = 256;

fn number_of_user_counters(counters: &Counters) -> usize {
    counters.user.values().map(std::collections::BTreeMap::len).sum()
}

/// An error when there are too many of the user's counters, or a name of one is too long.
pub(crate) fn check_user_counters(counters: &Counters) -> Result<()> {
    if number_of_user_counters(counters) > MAX_USER_COUNTERS {
        return Err(Error::permanent(format!(
            "there are more than {MAX_USER_COUNTERS} counters of the functions' own"
        ))
        .because("what is counted by key is data: emit it, and sum it in reduce"));
    }
    let names = counters.user.iter().flat_map(|(group, names)| names.keys().map(move |name| (group, name)));
    match names.into_iter().find(|(group, name)| group.len() + name.len() > MAX_NAME_BYTES) {
        None => Ok(()),
        Some((group, name)) => {
            let shown: String = format!("{group},{name}").chars().take(64).collect();
            Err(Error::permanent(format!(
                "the name of the counter `{shown}…` is longer than {MAX_NAME_BYTES} bytes"
            )))
        }
    }
}

/// The counters that the functions of an attempt share.
#[derive(Clone, Debug, Default)]
pub struct UserCounters(Arc<Mutex<Counters>>);

impl UserCounters {
    /// Adds to a counter, unless it is one too many: [`Self::move_to`] says so.
    pub fn count(&self, group: &str, name: &str, n: i64) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // One more than there may be is an error, and more need not be kept.
        let known = counters.user.get(group).is_some_and(|names| names.contains_key(name));
        if known || number_of_user_counters(&counters) <= MAX_USER_COUNTERS {
            counters.count(group, name, n);
        }
    }

    /// Moves what was counted to the attempt's counters.
    pub fn move_to(&self, counters: &mut Counters) -> Result<()> {
        counters.add(&std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
        check_user_counters(counters)
    }
}
