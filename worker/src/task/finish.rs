//! The end of a job: its parts appear, then `_SUCCESS`, then the intermediate data goes.
//!
//! Whatever happens in between can be done again: completing what is complete is no error, and
//! `_SUCCESS` names the run that wrote it.

use std::collections::HashSet;

use mapreduce_api::ids::JobId;
use mapreduce_api::v1alpha1::{Cleanup, IfExists};
use mapreduce_api::wire::{Counters, StepCounters};
use serde::{Deserialize, Serialize};

use super::commit::{self, Commit};
use crate::error::{Error, Result};
use crate::function::context::check_user_counters;
use crate::job::Job;
use crate::job::chain::Done;
use crate::job::threads::in_parallel;
use crate::output::StagedPart;
use crate::output::replaceable::{SUCCESS, replaceable};
use crate::record::skipped;
use crate::storage::Contents;
use crate::task::{attempts, lost};

/// A part of the output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputObject {
    /// Its URL.
    pub url: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its records.
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
    /// The parts.
    pub outputs: Vec<OutputObject>,
}

/// Bytes of a `_SUCCESS` that are looked at: of 100,000 parts with long names it has 30 MiB.
const MOST_SUCCESS: u64 = 64 << 20;
/// There while parts appear: without `_SUCCESS` beside it, those that did have to go again.
const COMMITTING: &str = "committing";

/// An error when there is something at the output prefix that must not be there.
pub fn check_output(job: &Job) -> Result<()> {
    let contents = old_contents(job)?;
    if job.file.spec.output.if_exists == IfExists::Replace {
        return replaceable_keys(job, contents).map(drop);
    }
    match contents.keys.first() {
        None => Ok(()),
        Some(key) => Err(Error::permanent(format!(
            "output {} exists: there is {}",
            job.file.spec.output.url,
            job.output.url(key)
        ))
        .because("remove it, choose another output.url, or set output.ifExists: Replace")),
    }
}

/// What is at the output prefix and is not this run's own work folder.
fn old_contents(job: &Job) -> Result<Contents> {
    let mut contents = job.output.store.contents(&job.output.key)?;
    contents.keys.retain(|key| !key.starts_with(&job.staging.key) && !key.starts_with(&job.folder.key));
    Ok(contents)
}

/// Of that, what may be removed: an error where there is more.
fn replaceable_keys(job: &Job, contents: Contents) -> Result<Vec<String>> {
    let success = job.output.join(SUCCESS);
    let success = success.store.start(&success.key, MOST_SUCCESS)?;
    replaceable(&job.output, contents, success.as_deref())
}

/// The `_SUCCESS` of this very run, if it is there.
pub fn succeeded(job: &Job) -> Result<Option<Success>> {
    let place = job.output.join(SUCCESS);
    let bytes = place.store.get(&place.key)?;
    let success: Option<Success> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(success.filter(|success| success.id == job.file.id))
}

/// Makes the parts visible, with them what was left out, writes `_SUCCESS` and removes the intermediate data. A failure halfway is
/// tried again: every attempt goes on where the one before was.
pub fn finish(job: &Job, done: &Done, parts: &[StagedPart]) -> Result<Success> {
    let (success, _) = attempts(job.file.spec.retries, |_| publish(job, done, parts))?;
    if job.file.spec.cleanup != Cleanup::Never
        && let Err(error) = remove_work(job).or_else(|_| remove_work(job))
    {
        // The result is there all the same.
        tracing::warn!(%error, causes = ?error.causes(), "Intermediate data is left.");
    }
    Ok(success)
}

fn publish(job: &Job, done: &Done, parts: &[StagedPart]) -> Result<Success> {
    // Two tasks may both take themselves for the last: what one has finished the other leaves alone.
    if let Some(success) = succeeded(job)? {
        return Ok(success);
    }
    skipped::check_budget(job.file.spec.skip_bad_records.max, &done.skipped)?;
    // Shares of a step were looked at when its map tasks had ended.
    lost::check(job, &done.lost, [], 0)?;
    check_user_counters(&done.total)?;
    let all: Vec<StagedPart> =
        parts.iter().chain(done.skipped.iter().map(|skipped| &skipped.part)).cloned().collect();
    if job.file.spec.output.if_exists == IfExists::Replace {
        let ours: HashSet<String> = all.iter().map(|part| job.output.join(&part.name).key).collect();
        let mut contents = old_contents(job)?;
        // Those of the same name are replaced in one step when the new ones appear.
        contents.keys.retain(|key| !ours.contains(key));
        let old = replaceable_keys(job, contents)?;
        // It goes first: from then on nobody takes what is left for a result.
        job.output.store.delete(&[job.output.join(SUCCESS).key])?;
        job.output.store.delete_below(&job.output.key, &old)?;
    }
    let marker = job.staging.join(COMMITTING);
    marker.store.put(&marker.key, Vec::new())?;
    in_parallel(&all, |part| {
        let key = job.output.join(&part.name).key;
        job.output.store.complete(&key, &part.staged)?;
        if job.file.spec.output.if_exists == IfExists::Replace { check_size(job, &key, part) } else { Ok(()) }
    })?;
    let outputs = parts
        .iter()
        .map(|part| OutputObject {
            url: job.output.url(&job.output.join(&part.name).key),
            bytes: part.bytes,
            records: part.records,
        })
        .collect();
    let Done { total: counters, steps, .. } = done.clone();
    let (name, id) = (job.file.name.clone(), job.file.id.clone());
    let success = Success { name, id, counters, steps, outputs };
    let json = serde_json::to_vec_pretty(&success)
        .map_err(|e| Error::permanent("can't write _SUCCESS").because(e))?;
    job.output.store.put(&job.output.join(SUCCESS).key, json)?;
    Ok(success)
}

/// A part whose staged bytes are gone counts as complete where there is an object of its name: it must not
/// be the old one, that of a bucket which has cleared away an upload that waited too long.
fn check_size(job: &Job, key: &str, part: &StagedPart) -> Result<()> {
    match job.output.store.head(key)? {
        Some(entry) if entry.size == part.bytes => Ok(()),
        _ => Err(Error::permanent(format!("what was written for {} is gone", job.output.url(key)))
            .because("perhaps a lifecycle rule of the bucket has removed its upload: run the job again")),
    }
}

/// Removes the intermediate data of this run.
pub fn remove_work(job: &Job) -> Result<()> {
    job.folder.store.delete_prefix(&job.folder.key)?;
    job.staging.store.delete_prefix(&job.staging.key)
}

/// Removes all that a run without success has left: its staged parts, those that appeared already,
/// and its intermediate data. The result of a run whose last words were lost is left.
pub fn abandon(job: &Job, parts: &[StagedPart]) -> Result<()> {
    try_abandon(job, parts).or_else(|_| try_abandon(job, parts))
}

fn try_abandon(job: &Job, parts: &[StagedPart]) -> Result<()> {
    if succeeded(job)?.is_some() {
        return remove_work(job);
    }
    let marker = job.staging.join(COMMITTING);
    let committing = marker.store.head(&marker.key)?.is_some();
    let remove = |part: &StagedPart| {
        let key = job.output.join(&part.name).key;
        job.output.store.abort(&key, &part.staged)?;
        if committing { job.output.store.delete(&[key]) } else { Ok(()) }
    };
    // One that can't be removed doesn't keep the others.
    let removed: Vec<Result<()>> = parts.iter().map(remove).collect();
    removed.into_iter().collect::<Result<()>>()?;
    remove_work(job)
}

/// What the commit records of the steps name that is staged: parts of the last one, and what any left out.
pub fn committed_parts(job: &Job) -> Result<Vec<StagedPart>> {
    let first = if job.file.spec.skips() { 0 } else { job.step_count() - 1 };
    let mut parts = Vec::new();
    for job in (first..job.step_count()).map(|step| job.at_step(step)) {
        parts.extend(commit::list(&job)?.iter().flat_map(Commit::staged).cloned());
    }
    Ok(parts)
}
