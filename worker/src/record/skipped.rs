//! Bad records that are left out: `spec.skipBadRecords`.
//!
//! ```text
//!  record or value that can't be processed ──> Skipping ──> a line of <output>/_skipped/part-NNNNN.jsonl
//!                                                 │         {"url", "offset", "reason", "record"}
//!                                                 └─ more than max: the attempt fails, and the job
//! ```
//!
//! Each attempt stages an object of its own, with its first bad record; it becomes visible with the
//! parts. Map task `i` writes `part-i`; the reduce tasks' objects are numbered after those, and a later
//! step's after all of them.
//! A budget is the job's, while a pod sees its own task alone: the pod that sees all commit records
//! of a phase adds them up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::record::format::Format;
use crate::record::key::Key;
use crate::storage::{Location, StagedPart, StagedWriter};

/// The folder with the records that a run left out.
pub const SKIPPED: &str = "_skipped";
/// Bytes of a record that its line has.
const MAX_BYTES: usize = 1 << 20;
/// What is looked at of a record: a byte more shows that it was longer.
pub(crate) const LOOKED_AT: usize = MAX_BYTES + 1;
/// Records that an error names.
const NAMED: usize = 10;

/// What an attempt has left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkippedRecords {
    /// The object with their lines.
    pub part: StagedPart,
    /// The first of them, for an error's message.
    pub first: Vec<String>,
}

/// As much of a record as is looked at when it is left out.
pub(crate) fn shown(record: &[u8]) -> &[u8] {
    &record[..record.len().min(LOOKED_AT)]
}

/// The attempts of a job that have left out records.
#[derive(Debug, Default)]
pub struct Attempts {
    all: Mutex<HashMap<(TaskId, AttemptId), Skipping>>,
    /// Tasks of the steps before.
    tasks_before: AtomicU32,
    map_tasks: AtomicU32,
}

/// Where things go.
#[derive(Debug)]
pub(crate) struct SkippedPlaces<'a> {
    pub(crate) output: &'a Location,
    pub(crate) staging: &'a Location,
    pub(crate) format: &'a Format,
}

impl Attempts {
    /// Says what the objects of a step's tasks are numbered after: the tasks of the steps before, and
    /// those of reduce tasks after the map tasks.
    pub fn number_behind(&self, tasks_before: u32, map_tasks: u32) {
        self.tasks_before.store(tasks_before, Ordering::Relaxed);
        self.map_tasks.store(map_tasks, Ordering::Relaxed);
    }

    /// What an attempt leaves out, from its first bad record on; its threads share it.
    pub(crate) fn of(
        &self,
        task: TaskId,
        attempt: &AttemptId,
        most: u64,
        places: &SkippedPlaces<'_>,
    ) -> Skipping {
        let number = self.tasks_before.load(Ordering::Relaxed)
            + match task.kind {
                TaskKind::Map => task.index,
                TaskKind::Reduce => self.map_tasks.load(Ordering::Relaxed) + task.index,
            };
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let name = format!("{SKIPPED}/part-{number:05}.jsonl");
            let (place, staging) = (places.output.join(&name), places.staging.clone());
            let (format, state) = (places.format.clone(), Mutex::default());
            Skipping(Some(Arc::new(Shared { most, name, place, staging, format, state })))
        };
        all.entry((task, attempt.clone())).or_insert_with(new).clone()
    }

    /// Ends the object of an attempt that has succeeded; what other attempts at the task have written goes.
    pub fn finish(&self, task: TaskId, attempt: &AttemptId) -> Result<Option<SkippedRecords>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = all.remove(&(task, attempt.clone()));
        all.retain(|(other, _), _| *other != task);
        drop(all);
        ours.map_or(Ok(None), |ours| ours.finish())
    }

    /// Removes what the attempts at a task have written.
    pub fn forget(&self, task: TaskId) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _), _| *other != task);
    }

    /// Removes what unfinished attempts have written.
    pub fn clear(&self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Takes the bad records of an attempt.
#[derive(Clone, Debug)]
pub struct Skipping(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    most: u64,
    name: String,
    place: Location,
    staging: Location,
    format: Format,
    state: Mutex<SkippedState>,
}

#[derive(Default)]
struct SkippedState {
    writer: Option<Box<dyn StagedWriter>>,
    records: u64,
    bytes: u64,
    checksum: Xxh3,
    first: Vec<String>,
}

impl std::fmt::Debug for SkippedState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SkippedState").field("records", &self.records).finish_non_exhaustive()
    }
}

/// A line of the object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SkippedRow<'a> {
    url: Option<&'a str>,
    offset: Option<u64>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_base64: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Skipping {
    /// Bad records are passed over in silence: for a look at the data.
    pub fn in_silence() -> Self {
        Self(None)
    }

    /// Leaves out a record of the input, as its key and value.
    pub fn leave_out_record(&self, error: &Error, key: Key<'_>, value: &[u8]) -> Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        self.leave_out(error, &shared.format.whole(key, shown(value)))
    }

    /// Leaves out a record of the input, or a value or pair, whose error names no record. An error once
    /// there are too many.
    pub fn leave_out(&self, error: &Error, text: &[u8]) -> Result<()> {
        let Some(shared) = &self.0 else { return Ok(()) };
        let report = error.report();
        let record = report.record.as_ref();
        let named = record.map(|record| Error::bad_record("", &record.url, record.offset).to_string());
        let reason = named.as_deref().and_then(|place| report.message.strip_prefix(place));
        let reason =
            reason.or_else(|| report.message.strip_prefix("bad record: ")).unwrap_or(&report.message);
        let start = &text[..text.len().min(MAX_BYTES)];
        let utf8 = match std::str::from_utf8(start) {
            Ok(text) => Some(text),
            // A character that was cut.
            Err(error) if start.len() < text.len() && error.error_len().is_none() => {
                std::str::from_utf8(&start[..error.valid_up_to()]).ok()
            }
            Err(_) => None,
        };
        let row = SkippedRow {
            url: record.map(|record| &*record.url),
            offset: record.map(|record| record.offset),
            reason,
            record: utf8,
            record_base64: utf8.is_none().then(|| base64::prelude::BASE64_STANDARD.encode(start)),
            truncated: start.len() < text.len(),
        };
        let mut line = serde_json::to_vec(&row)
            .map_err(|error| Error::permanent("can't write a skipped record").because(error))?;
        line.push(b'\n');
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.records += 1;
        if state.first.len() < NAMED {
            state.first.push(match record {
                Some(record) => format!("{} at byte {}: {reason}", record.url, record.offset),
                None => reason.to_owned(),
            });
        }
        if state.records > shared.most {
            let error = too_many(state.records, shared.most, &state.first);
            return Err(match record {
                Some(record) => error.about(&record.url, record.offset),
                None => error,
            });
        }
        if state.writer.is_none() {
            state.writer = Some(shared.place.store.stage(&shared.place.key, &shared.staging.key)?);
        }
        state.bytes += line.len() as u64;
        state.checksum.update(&line);
        state.writer.as_mut().map_or(Ok(()), |writer| writer.write(&line))
    }

    fn finish(&self) -> Result<Option<SkippedRecords>> {
        let Some(shared) = &self.0 else { return Ok(None) };
        let SkippedState { writer, records, bytes, checksum, first } =
            std::mem::take(&mut *shared.state.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(writer) = writer else { return Ok(None) };
        let (name, checksum) = (shared.name.clone(), checksum.digest());
        let part = StagedPart { name, staged: writer.finish()?, bytes, records, checksum };
        Ok(Some(SkippedRecords { part, first }))
    }
}

/// An error when tasks have left out more than a job may.
pub fn check_budget<'a>(most: u64, tasks: impl IntoIterator<Item = &'a SkippedRecords>) -> Result<()> {
    let (mut records, mut first) = (0, Vec::new());
    for task in tasks {
        records += task.part.records;
        first.extend(task.first.iter().take(NAMED - first.len().min(NAMED)).cloned());
    }
    if records > most { Err(too_many(records, most, &first)) } else { Ok(()) }
}

fn too_many(records: u64, most: u64, first: &[String]) -> Error {
    let message = format!("{records} bad records or more, and spec.skipBadRecords.max is {most}");
    first.iter().fold(Error::permanent(message), Error::because)
}
