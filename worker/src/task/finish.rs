//! The end of a job: its parts appear, then `_SUCCESS`, then the intermediate data goes.
//!
//! Whatever happens in between can be done again: completing what is complete is no error, and
//! `_SUCCESS` names the run that wrote it.

use std::collections::HashSet;
use std::io::Read as _;

use mapreduce_api::ids::{AttemptId, JobId};
use mapreduce_api::v1alpha1::{Cleanup, IfExists};
use mapreduce_api::wire::{Counters, StepCounters};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::commit::lock::{self, Held, OutputLock};
use crate::commit::owner::{OWNER, Sign};
use crate::commit::record::Commit;
use crate::error::{Error, Result};
use crate::function::context::check_user_counters;
use crate::machine::threads::in_parallel;
use crate::output::StagedPart;
use crate::output::replaceable::{SUCCESS, WORK, is_temporary, replaceable};
use crate::plan;
use crate::plan::completed::CompletedSteps;
use crate::record::skipped;
use crate::storage::once::{Won, create_once};
use crate::storage::{Contents, Created, Location};
use crate::task::publication::Publication;
use crate::task::{attempts, lost, turn};

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
/// There while parts appear, with their names: without `_SUCCESS` beside it, those that did have to go again.
pub(crate) const PUBLISHING: &str = "publishing";

/// An error when there is something at the output prefix that must not be there.
pub fn check_output(run: &Publication) -> Result<()> {
    let contents = old_contents(run)?;
    if run.spec().output.if_exists == IfExists::Replace {
        return replaceable_keys(run, contents).map(drop);
    }
    nothing_may_be_there(run, &contents)
}

fn nothing_may_be_there(run: &Publication, contents: &Contents) -> Result<()> {
    // A run that is about to find that it is not the first writes its lock beside ours.
    let is_written = |key: &&String| !key.strip_prefix(&run.output.key).is_some_and(is_temporary);
    match contents.keys.iter().find(is_written) {
        None => Ok(()),
        Some(key) => Err(Error::permanent(format!(
            "output {} exists: there is {}",
            run.spec().output.url,
            run.output.url(key)
        ))
        .because("remove it, choose another output.url, or set output.ifExists: Replace")),
    }
}

/// What is at the output prefix and is not this run's, the lock, or the work folder of a run that may be at work:
/// that is no result, and its run takes the lock before anything of it appears.
fn old_contents(run: &Publication) -> Result<Contents> {
    let mut contents = run.output.store.contents(&run.output.key)?;
    let at_work = runs_at_work(run, &contents)?;
    let lock = lock::place(&run.output).key;
    let is_work = |key: &String| {
        let name = key.strip_prefix(&run.output.key).and_then(|name| name.strip_prefix(WORK));
        let id = name.and_then(|name| name.split_once('/')).map(|(id, _)| id);
        *key == lock || id.is_some_and(|id| id == run.context.id.as_str() || at_work.contains(id))
    };
    contents.keys.retain(|key| !is_work(key) && !key.starts_with(&run.folder.key));
    Ok(contents)
}

/// The runs whose work folders have a plan that can be read, or the sign of a process that isn't known to be gone.
fn runs_at_work(run: &Publication, contents: &Contents) -> Result<HashSet<String>> {
    let mut runs = HashSet::new();
    for key in &contents.keys {
        let name = key.strip_prefix(&run.output.key).and_then(|name| name.strip_prefix(WORK));
        let at_work = match name.and_then(|name| name.split_once('/')) {
            // A step's is in a folder of its own.
            Some((id, file))
                if file.rsplit('/').next() == Some(plan::HEAD)
                    && plan::is_one(&Location { key: key.clone(), ..run.output.clone() })? =>
            {
                Some(id)
            }
            Some((id, OWNER)) if !is_of_the_dead(run, key)? => Some(id),
            _ => None,
        };
        runs.extend(at_work.map(str::to_owned));
    }
    Ok(runs)
}

fn is_of_the_dead(run: &Publication, key: &str) -> Result<bool> {
    // One that has gone since the listing was of a run that has just ended by itself.
    let Some(sign) = run.output.store.get(key)? else { return Ok(false) };
    let sign = serde_json::from_slice::<Sign>(&sign).ok();
    Ok(sign.is_none_or(|sign| sign.owner.is_dead()))
}

/// Of that, what may be removed: an error where there is more.
fn replaceable_keys(run: &Publication, contents: Contents) -> Result<Vec<String>> {
    let success = run.output.join(SUCCESS);
    let success = success.store.start(&success.key, MOST_SUCCESS)?;
    replaceable(&run.output, contents, success.as_deref())
}

/// The `_SUCCESS` of this very run, if it is there.
pub fn succeeded(run: &Publication) -> Result<Option<Success>> {
    let place = run.output.join(SUCCESS);
    let bytes = place.store.get(&place.key)?;
    let success: Option<Success> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(success.filter(|success| success.id == run.context.id))
}

/// Makes the parts visible, with them what was left out, writes `_SUCCESS` and removes the intermediate data. A
/// failure halfway is tried again: every attempt goes on where the one before was. `attempt` is the one that has
/// found all tasks committed in the log; none where there is no log.
pub fn finish(
    run: &Publication,
    done: &CompletedSteps,
    parts: &[StagedPart],
    attempt: Option<&AttemptId>,
) -> Result<Success> {
    let (success, _) = attempts(run.spec().retries, |_| publish(run, done, parts, attempt))?;
    let calm = run.uninterrupted();
    let tidied = match run.spec().cleanup {
        Cleanup::Never => lock::release_of(&calm.output, &calm.owner),
        _ => tidy_up(&calm).or_else(|_| tidy_up(&calm)),
    };
    if let Err(error) = tidied {
        // The result is there all the same.
        tracing::warn!(%error, causes = ?error.causes(), "Intermediate data is left.");
    }
    Ok(success)
}

fn publish(
    run: &Publication,
    done: &CompletedSteps,
    parts: &[StagedPart],
    attempt: Option<&AttemptId>,
) -> Result<Success> {
    if let Some(success) = succeeded(run)? {
        return Ok(success);
    }
    skipped::check_budget(run.spec().skip_bad_records.max, &done.skipped)?;
    // Shares of a step were looked at when its map tasks had ended.
    lost::check(run.spec().max_failed_tasks, &done.lost, [], 0)?;
    check_user_counters(&done.total)?;
    let held = match run.spec().output.if_exists {
        IfExists::Fail => Held::Fails,
        IfExists::Replace => Held::Waits,
    };
    let lock = OutputLock::take(&run.output, &run.owner, held, || run.check_cancelled())?;
    publish_locked(run, done, parts, attempt, &lock).inspect_err(|_| {
        // Where parts may have appeared, the lock stays until they are gone or all of them there.
        let run = run.uninterrupted();
        let marker = run.staging.join(PUBLISHING);
        if let Ok(None) = marker.store.head(&marker.key)
            && let Err(error) = lock::release_of(&run.output, &run.owner)
        {
            tracing::warn!(%error, causes = ?error.causes(), "The output's lock is left.");
        }
    })
}

/// Publishes under the output's lock.
fn publish_locked(
    run: &Publication,
    done: &CompletedSteps,
    parts: &[StagedPart],
    attempt: Option<&AttemptId>,
    lock: &OutputLock,
) -> Result<Success> {
    // Two tasks may both take themselves for the last: what one has finished the other leaves alone.
    if let Some(success) = succeeded(run)? {
        return Ok(success);
    }
    if attempt.is_some() && !plan::is_there(run.last_work())? {
        return Err(Error::permanent("the job has ended, and its intermediate data was removed"));
    }
    let all: Vec<StagedPart> =
        parts.iter().chain(done.skipped.iter().map(|skipped| &skipped.part)).cloned().collect();
    let ours: HashSet<String> = all.iter().map(|part| run.output.join(&part.name).key).collect();
    let replaces = run.spec().output.if_exists == IfExists::Replace;
    if let Some(attempt) = attempt
        && let Some(success) = turn::take(run, attempt)?
    {
        return Ok(success);
    }
    run.context.ending.publish(&all)?;
    let marker = run.staging.join(PUBLISHING);
    let begun = marker.store.head(&marker.key)?.is_some();
    if !begun || replaces {
        let mut contents = old_contents(run)?;
        if replaces {
            // Those of the same name are replaced in one step when the new ones appear.
            contents.keys.retain(|key| !ours.contains(key));
            let old = replaceable_keys(run, contents)?;
            mark(&marker, &all)?;
            lock.check()?;
            // It goes first: from then on nobody takes what is left for a result.
            run.output.store.delete(&[run.output.join(SUCCESS).key])?;
            run.output.store.delete_below(&run.output.key, &old)?;
        } else {
            nothing_may_be_there(run, &contents).map_err(|error| {
                error.because("it was not there when the job began: another run or program was first")
            })?;
            mark(&marker, &all)?;
        }
    }
    in_parallel(&all, |part| {
        run.check_cancelled()?;
        let key = run.output.join(&part.name).key;
        let store = &run.output.store;
        let done = if replaces {
            store.complete(&key, &part.staged)?
        } else {
            store.complete_new(&key, &part.staged)?
        };
        match done {
            Created::New => Ok(()),
            Created::Exists if is_ours(run, &key, part)? => store.abort(&key, &part.staged),
            Created::Exists => Err(Error::permanent(format!("what was written for {} is gone, or something else was there first",
                run.output.url(&key)))
            .because("perhaps another program wrote it, or a lifecycle rule of the bucket has removed an upload: run the job again")),
        }
    })?;
    let outputs = parts
        .iter()
        .map(|part| OutputObject {
            url: run.output.url(&run.output.join(&part.name).key),
            bytes: part.bytes,
            records: part.records,
        })
        .collect();
    let CompletedSteps { total: counters, steps, .. } = done.clone();
    let (name, id) = (run.context.name.clone(), run.context.id.clone());
    let success = Success { name, id, counters, steps, outputs };
    write_success(run, &success, replaces)?;
    Ok(success)
}

/// Writes `_SUCCESS`. From here on the run has succeeded, whatever else happens: no wish to stop comes between.
fn write_success(run: &Publication, success: &Success, replaces: bool) -> Result<()> {
    let json = serde_json::to_vec_pretty(success)
        .map_err(|e| Error::permanent("can't write _SUCCESS").because(e))?;
    run.check_cancelled()?;
    run.context.ending.succeed()?;
    let place = run.uninterrupted().output.join(SUCCESS);
    if replaces {
        return place.store.put(&place.key, json);
    }
    match create_once(&place, &json, MOST_SUCCESS, |there| id_of(there).is_some_and(|id| id == success.id))? {
        Won::Ours => Ok(()),
        Won::Theirs(_) => {
            Err(Error::permanent(format!("{} is there: another run was first", place.url(&place.key))))
        }
    }
}

fn id_of(success: &[u8]) -> Option<JobId> {
    serde_json::from_slice::<Success>(success).ok().map(|success| success.id)
}

/// Notes which parts will appear, before the first does.
fn mark(marker: &Location, parts: &[StagedPart]) -> Result<()> {
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let names =
        serde_json::to_vec(&names).map_err(|e| Error::permanent("can't name the parts").because(e))?;
    marker.store.put(&marker.key, names)
}

/// Whether the object that is there is this part: by its content, for an older one may have its name and size.
fn is_ours(run: &Publication, key: &str, part: &StagedPart) -> Result<bool> {
    let store = &run.output.store;
    let entry = match store.head(key)? {
        Some(entry) if entry.size == part.bytes => entry,
        _ => return Ok(false),
    };
    let mut content = store.open(&entry, 0..entry.size)?;
    let (mut checksum, mut buffer) = (Xxh3::new(), vec![0; 64 << 10]);
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(checksum.digest() == part.checksum),
            read => checksum.update(&buffer[..read]),
        }
    }
}

/// Removes the intermediate data of a run that has succeeded, then its lock.
pub fn tidy_up(run: &Publication) -> Result<()> {
    let run = &run.uninterrupted();
    remove_work(run)?;
    lock::release_of(&run.output, &run.owner)
}

/// Removes the intermediate data of this run. The plans go first: whoever writes something after that finds by
/// them that it has to go again.
fn remove_work(run: &Publication) -> Result<()> {
    let plans: Vec<String> = run.works.iter().map(|work| work.join(plan::HEAD).key).collect();
    run.folder.store.delete(&plans)?;
    run.folder.store.delete_prefix(&run.folder.key)?;
    run.staging.store.delete_prefix(&run.staging.key)
}

/// Removes all that a run without success has left: its staged parts, those that appeared already, its
/// intermediate data, and its lock. The result of a run whose last words were lost is left, and given.
pub fn abandon(run: &Publication, parts: &[StagedPart]) -> Result<Option<Success>> {
    let run = &run.uninterrupted();
    try_abandon(run, parts).or_else(|_| try_abandon(run, parts))
}

/// Ends a run without result while its threads are still at work, and removes what it has left. Not one that has
/// succeeded or is about to write its `_SUCCESS`: says whether.
pub fn stop(run: &Publication) -> bool {
    let run = &run.uninterrupted();
    if matches!(succeeded(run), Ok(Some(_))) {
        return false;
    }
    let Some(mut parts) = run.context.ending.stop() else { return false };
    parts.extend(committed_parts(run).unwrap_or_default());
    if let Err(error) = abandon(run, &parts) {
        tracing::warn!(%error, causes = ?error.causes(), "What the run has written is left.");
    }
    true
}

fn try_abandon(run: &Publication, parts: &[StagedPart]) -> Result<Option<Success>> {
    if let Some(success) = succeeded(run)? {
        return tidy_up(run).map(|()| Some(success));
    }
    let marker = run.staging.join(PUBLISHING);
    // Parts appear under the lock alone: without it, what is there is somebody else's.
    let begun = marker.store.head(&marker.key)?.is_some() && lock::is_held(&run.output, &run.owner)?;
    // Beside another run's `_SUCCESS` nothing of ours has appeared yet. Where an old one went, what is left of the
    // old result is none.
    let success = run.output.join(SUCCESS);
    let begun = begun && success.store.head(&success.key)?.is_none();
    let replaces = run.spec().output.if_exists == IfExists::Replace;
    let remove = |part: &StagedPart| {
        let key = run.output.join(&part.name).key;
        run.output.store.abort(&key, &part.staged)?;
        if begun && (replaces || is_ours(run, &key, part)?) {
            run.output.store.delete(&[key])
        } else {
            Ok(())
        }
    };
    // One that can't be removed doesn't keep the others.
    let removed: Vec<Result<()>> = parts.iter().map(remove).collect();
    removed.into_iter().collect::<Result<()>>()?;
    tidy_up(run).map(|()| None)
}

/// What the commit records of the steps name that is staged: parts of the last one, and what any left out.
pub fn committed_parts(run: &Publication) -> Result<Vec<StagedPart>> {
    let first = if run.spec().skips() { 0 } else { run.works.len() - 1 };
    let mut parts = Vec::new();
    for log in run.logs().skip(first) {
        parts.extend(log.list()?.iter().flat_map(Commit::staged).cloned());
    }
    Ok(parts)
}
