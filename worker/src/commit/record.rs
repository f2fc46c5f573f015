//! The commit of a task: one conditional create.
//!
//! Several attempts at a task may run at once: a pod that a node lost sight of and its
//! replacement, a straggler and its backup. Each writes under its own name. The first to create
//! the task's commit record wins; what the others wrote is never read.
//!
//! ```text
//!  <work>/commit/map-00017     record │ ' ' │ XXH3 of the record, 16 hexadecimal digits │ '\n' │ shuffle data
//!  <work>/commit/reduce-00003  record │ ' ' │ XXH3 │ '\n'
//!
//!  record = attempt, counters; of a map task where each partition is in the shuffle data,
//!           of a reduce task staged parts, or pairs for the next step
//! ```
//!
//! A record is a line of JSON. A map task's is followed by its shuffle data, if it is no more than fits in one request
//! ([`object::SMALL`](crate::shuffle::object::SMALL)): the task is written and committed at once then. More is in an
//! object of its own, which the record names.
//!
//! The task whose commit is the phase's last has to know it, without a LIST and without anybody
//! to count: after its own commit each task looks for the others' records in an order of its own
//! and stops at the first that is missing. The last one finds all of them. With R tasks that is
//! R·ln R small GETs in all, most of them the last one's.

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::wire::{Counters, ErrorReport};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::machine::threads;
use crate::record::pairs::PairsObject;
use crate::record::skipped::SkippedRecords;
use crate::shuffle::object::ShuffleObject;
use crate::storage::once::{Won, create_once};
use crate::storage::{Created, Location, Staged, StagedPart};

/// The commit record of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// The attempt that won.
    pub attempt: AttemptId,
    /// What the task has done.
    pub counters: Counters,
    /// A map task's shuffle data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<ShuffleObject>,
    /// The parts of a reduce task, or of a map task without reducers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<StagedPart>,
    /// In the place of parts, where another step follows: pairs for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PairsObject>,
    /// The bad records that were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<SkippedRecords>,
    /// Why there is nothing of the task: the job goes on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<ErrorReport>,
}

impl Commit {
    /// The record of an attempt that has written nothing yet.
    pub fn new(attempt: &AttemptId) -> Self {
        Self {
            attempt: attempt.clone(),
            counters: Counters::default(),
            shuffle: None,
            parts: Vec::new(),
            pairs: Vec::new(),
            skipped: None,
            lost: None,
        }
    }

    /// All that is staged and not visible.
    pub fn staged(&self) -> impl Iterator<Item = &StagedPart> {
        self.parts.iter().chain(self.skipped.iter().map(|skipped| &skipped.part))
    }

    /// An error where it names a place that is not the run's own.
    fn check(&self, log: &CommitLog) -> Result<()> {
        let is_inside = |name: &str| {
            !name.is_empty()
                && !name.starts_with('/')
                && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
        };
        let staged = |part: &StagedPart| match &part.staged {
            Staged::File { path } => path.strip_prefix(&log.staging.key).is_some_and(is_inside),
            Staged::Upload { .. } => true,
        };
        let places = self.shuffle.iter().map(|object| object.name.as_str());
        let places = places.chain(self.pairs.iter().map(|pairs| pairs.name.as_str()));
        let foreign =
            places.chain(self.staged().map(|part| part.name.as_str())).find(|name| !is_inside(name));
        let foreign =
            foreign.or_else(|| self.staged().find(|part| !staged(part)).map(|part| part.name.as_str()));
        foreign.map_or(Ok(()), |name| {
            Err(Error::permanent(format!(
                "a commit record in {} names `{name}`, which is not in the job's folder",
                log.work.url(&log.work.key)
            )))
        })
    }
}

/// Where a run's records are.
#[derive(Clone, Debug)]
pub struct CommitLog {
    /// The folder of the step.
    pub work: Location,
    /// The prefix of parts that are not visible yet.
    pub staging: Location,
}

/// The folder of the commit records, in the work folder.
const FOLDER: &str = "commit/";
/// Bytes that are read at first: most records are shorter.
const RECORD_BYTES: u64 = 16 << 10;
/// Bytes after a record: a space, and its checksum.
const SUM: usize = 17;

fn name(task: TaskId) -> String {
    format!("{FOLDER}{task}")
}

impl CommitLog {
    /// The same in a store that cancelling doesn't touch.
    #[must_use]
    pub fn uninterrupted(&self) -> Self {
        Self { work: self.work.uninterrupted(), staging: self.staging.uninterrupted() }
    }

    /// The commit record of a task, if there is one.
    pub fn look(&self, task: TaskId) -> Result<Option<Commit>> {
        let name = name(task);
        let Some(bytes) = self.start_of(&name)? else { return Ok(None) };
        let damaged = || {
            let place = self.work.join(&name);
            // What was read may have been damaged on its way: another attempt reads it again.
            Error::retry(format!("the commit record {} is damaged", place.url(&place.key)))
        };
        let commit = parse(&name, &bytes).ok_or_else(damaged)?;
        commit.check(self)?;
        Ok(Some(commit))
    }

    /// The commit records of all tasks that have one, but for those that can't be read as such or name what is not
    /// the run's.
    pub fn list(&self) -> Result<Vec<Commit>> {
        let mut found = Vec::new();
        for entry in self.work.store.list(&self.work.join(FOLDER).key, true)? {
            let name = entry.key.strip_prefix(&self.work.key).unwrap_or(&entry.key);
            let commit = self.start_of(name)?.and_then(|bytes| parse(name, &bytes));
            found.extend(commit.filter(|commit| commit.check(self).is_ok()));
        }
        Ok(found)
    }

    /// The first bytes of an object, its first line at least.
    fn start_of(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let place = self.work.join(name);
        let mut most = RECORD_BYTES;
        loop {
            let Some(bytes) = place.store.start(&place.key, most)? else { return Ok(None) };
            if bytes.contains(&b'\n') || (bytes.len() as u64) < most {
                return Ok(Some(bytes));
            }
            most *= 16;
        }
    }

    /// Commits an attempt, with its shuffle data where that is small; says whether it was the first.
    pub fn commit(&self, task: TaskId, record: &Commit, data: &[u8]) -> Result<Created> {
        let name = name(task);
        let mut bytes = serde_json::to_vec(record)
            .map_err(|e| Error::permanent("can't write a commit record").because(e))?;
        let seal = seal(&bytes);
        bytes.reserve_exact(SUM + 1 + data.len());
        bytes.extend_from_slice(seal.as_bytes());
        bytes.push(b'\n');
        // A record names its attempt: what begins as ours is ours.
        let ours = bytes.clone();
        bytes.extend_from_slice(data);
        let won = create_once(&self.work.join(&name), &bytes, ours.len() as u64, |there| *there == ours)?;
        Ok(if won == Won::Ours { Created::New } else { Created::Exists })
    }

    /// Removes the record of a task.
    pub fn remove(&self, task: TaskId) -> Result<()> {
        self.work.store.delete(&[self.work.join(&name(task)).key])
    }

    /// The commit records of all tasks of a phase, if this is the moment that all are there.
    pub fn all(&self, kind: TaskKind, tasks: u32, attempt: &AttemptId) -> Result<Option<Vec<Commit>>> {
        let mut order: Vec<u32> = (0..tasks).collect();
        order.sort_by_cached_key(|index| xxh3_64(format!("{attempt} {index}").as_bytes()));
        let mut found: Vec<Option<Commit>> = (0..tasks).map(|_| None).collect();
        // One by one while some may be missing, then many at once: the last one reads all of them.
        let (first, rest) = order.split_at(order.len().min(4));
        for index in first {
            let Some(commit) = self.look(TaskId { kind, index: *index })? else { return Ok(None) };
            found[*index as usize] = Some(commit);
        }
        for batch in rest.chunks(64) {
            let shares: Vec<_> = batch.chunks(batch.len().div_ceil(8)).collect();
            let looked = threads::each(shares.len(), |share| {
                let look = |&index: &u32| (index, self.look(TaskId { kind, index }));
                shares[share].iter().map(look).collect::<Vec<_>>()
            });
            let looked: Vec<_> = looked.into_iter().flat_map(Result::unwrap_or_default).collect();
            if looked.len() < batch.len() {
                return Err(Error::retry("a thread that read commit records has panicked"));
            }
            for (index, commit) in looked {
                let Some(commit) = commit? else { return Ok(None) };
                found[index as usize] = Some(commit);
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// The record that an object of this name begins with.
fn parse(name: &str, bytes: &[u8]) -> Option<Commit> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (record, sum) = bytes[..end].split_last_chunk::<SUM>()?;
    if *sum != *seal(record).as_bytes() {
        return None;
    }
    let mut commit: Commit = serde_json::from_slice(record).ok()?;
    if let Some(object) = commit.shuffle.as_mut().filter(|object| object.is_with_record()) {
        object.is_behind(name, end as u64 + 1);
    }
    Some(commit)
}

/// What follows a record.
fn seal(record: &[u8]) -> String {
    format!(" {:016x}", xxh3_64(record))
}
