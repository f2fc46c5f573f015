//! The end of a job: its parts appear, then `_SUCCESS`, then the intermediate data goes.
//!
//! Whatever happens in between can be done again: completing what is complete is no error, and
//! `_SUCCESS` names the run that wrote it.

use std::collections::HashSet;
use std::time::Duration;

use mapreduce_api::ids::{AttemptId, JobId};
use mapreduce_api::v1alpha1::{Cleanup, IfExists};
use mapreduce_api::wire::{Counters, StepCounters};
use serde::{Deserialize, Serialize};

use crate::commit::lock::{self, Held, OutputLock};
use crate::commit::record::Commit;
use crate::commit::sign::{self, OWNER};
use crate::error::{Error, Kind, Result};
use crate::function::context::check_user_counters;
use crate::machine::clock;
use crate::machine::threads::in_parallel;
use crate::output::StagedPart;
use crate::output::replaceable::{SUCCESS, WORK, is_temporary, replaceable};
use crate::plan;
use crate::plan::completed::CompletedSteps;
use crate::record::skipped;
use crate::storage::{Contents, Created, Location, Staged};
use crate::task::mark::{self, Mark, MarkedPart};
use crate::task::publication::Publication;
use crate::task::{attempts, lost, patiently, turn};

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
const MAX_SUCCESS: u64 = 64 << 20;
/// Runs that a result remembers to have replaced.
const REMEMBERED: usize = 100;

/// An error when there is something at the output prefix that must not be there. Says whether a run publishes there.
pub fn check_output(run: &Publication) -> Result<bool> {
    let contents = run.output.store.contents(&run.output.key)?;
    let is_locked = contents.keys.contains(&lock::place(&run.output).key);
    let contents = only_old(run, contents)?;
    if run.spec().output.if_exists == IfExists::Replace {
        replaceable_keys(run, contents)?;
    } else {
        nothing_may_be_there(run, &contents)?;
    }
    Ok(is_locked)
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
    only_old(run, run.output.store.contents(&run.output.key)?)
}

fn only_old(run: &Publication, mut contents: Contents) -> Result<Contents> {
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

/// The runs whose work folders have a plan that can be read, or a sign. That of a dead one stays too: it says what else
/// is to be removed.
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
            Some((id, OWNER)) => Some(id),
            _ => None,
        };
        runs.extend(at_work.map(str::to_owned));
    }
    Ok(runs)
}

/// Of that, what may be removed: an error where there is more.
fn replaceable_keys(run: &Publication, contents: Contents) -> Result<Vec<String>> {
    let success = run.output.join(SUCCESS);
    let success = success.store.start(&success.key, MAX_SUCCESS)?;
    replaceable(&run.output, contents, success.as_deref())
}

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
fn read_success(run: &Publication) -> Result<Option<Success>> {
    let place = run.output.join(SUCCESS);
    let bytes = place.store.get(&place.key)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
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
        Cleanup::Never => leave(&calm),
        _ => tidy_up(&calm),
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
    publish_locked(run, done, parts, attempt, &lock).inspect_err(|error| {
        let run = run.uninterrupted();
        // Where the run is over nobody else removes what this attempt has written since. Where parts may have appeared,
        // or another attempt goes on, the lock stays: it is the run's, and goes with it.
        let tidied = if attempt.is_some() && matches!(plan::is_there(run.last_work()), Ok(false)) {
            tidy_up(&run)
        } else if (attempt.is_none() || error.kind() == Kind::Permanent)
            && matches!(Mark::is_there(&run.staging), Ok(false))
        {
            lock::release_of(&run.output, &run.owner)
        } else {
            Ok(())
        };
        if let Err(error) = tidied {
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
    let success = success_of(run, done, parts, if replaces { replaced(run)? } else { Vec::new() });
    let staged = StagedSuccess::new(run, &success)?;
    if let Some(attempt) = attempt
        && let Some(success) = turn::take(run, attempt, &staged.staged)?
    {
        return Ok(success);
    }
    run.context.ending.publish(&all)?;
    let parts_of_mark = all.iter().map(MarkedPart::of).collect();
    let mark =
        Mark { parts: parts_of_mark, success: staged.staged.clone(), replaced: success.replaced.clone() };
    if replaces {
        let place = run.output.join(SUCCESS);
        let old_success = place.store.head(&place.key)?;
        if let Some(success) = succeeded(run)? {
            return Ok(success);
        }
        let mut contents = old_contents(run)?;
        // Those of the same name are replaced in one step when the new ones appear.
        contents.keys.retain(|key| !ours.contains(key));
        let mut old = replaceable_keys(run, contents)?;
        old.retain(|key| *key != place.key);
        begin_to_publish(run, &mark, lock)?;
        // Soon there is neither the old result nor yet the new one: a wish to stop would leave none.
        run.context.ending.succeed()?;
        // It goes first: from then on nobody takes what is left for a result. But not that of another attempt of this
        // run, to which this one has been too slow.
        let place = run.uninterrupted().output.join(SUCCESS);
        if let Some(entry) = old_success
            && !place.store.delete_version(&entry)?
        {
            return Err(Error::retry(format!("{} has changed meanwhile", place.url(&place.key))));
        }
        place.store.delete_below(&run.output.key, &old)?;
    } else {
        if !Mark::is_there(&run.staging)? {
            nothing_may_be_there(run, &old_contents(run)?).map_err(|error| {
                // Another attempt of this run may have gone on meanwhile: then it is its own part.
                if matches!(Mark::is_there(&run.staging), Ok(false)) {
                    return error
                        .because("it was not there when the job began: another run or program was first");
                }
                Error::retry("another attempt has begun to publish")
            })?;
        }
        begin_to_publish(run, &mark, lock)?;
    }
    let calm = run.uninterrupted();
    let run = if replaces { &calm } else { run };
    in_parallel(&all, |part| {
        if !replaces {
            run.check_cancelled()?;
        }
        let key = run.output.join(&part.name).key;
        let store = &run.output.store;
        let done = if replaces {
            store.complete(&key, &part.staged)?
        } else {
            store.complete_new(&key, &part.staged)?
        };
        match done {
            Created::New => Ok(()),
            Created::Exists if MarkedPart::of(part).is_there(&run.output)? => store.abort(&key, &part.staged),
            Created::Exists => Err(Error::permanent(format!("what was written for {} is gone, or something else was there first",
                run.output.url(&key)))
            .because("perhaps another program wrote it, or a lifecycle rule of the bucket has removed an upload: run the job again")),
        }
    })?;
    // From here on the run has succeeded, whatever else happens: no wish to stop comes between.
    if !replaces {
        run.check_cancelled()?;
    }
    run.context.ending.succeed()?;
    staged.complete(&success, replaces)?;
    Ok(success)
}

/// Notes what is to appear, as long as nobody has taken the lock away.
fn begin_to_publish(run: &Publication, mark: &Mark, lock: &OutputLock) -> Result<()> {
    mark.write(&run.staging)?;
    lock.check()
}

fn success_of(
    run: &Publication,
    done: &CompletedSteps,
    parts: &[StagedPart],
    replaced: Vec<JobId>,
) -> Success {
    let output = |part: &StagedPart| OutputObject {
        url: run.output.url(&run.output.join(&part.name).key),
        bytes: part.bytes,
        records: part.records,
    };
    let CompletedSteps { total: counters, steps, .. } = done.clone();
    let (name, id) = (run.context.name.clone(), run.context.id.clone());
    Success { name, id, counters, steps, outputs: parts.iter().map(output).collect(), replaced }
}

/// The runs whose results this one replaces. Where the old `_SUCCESS` has gone already, the mark knows.
fn replaced(run: &Publication) -> Result<Vec<JobId>> {
    let old = read_success(run)?.filter(|old| old.id != run.context.id);
    let mut runs = match old {
        Some(old) => [vec![old.id], old.replaced].concat(),
        None => Mark::read(&run.staging)?.map(|mark| mark.replaced).unwrap_or_default(),
    };
    runs.truncate(REMEMBERED);
    Ok(runs)
}

/// A `_SUCCESS` that is staged. A write could still be done when its sender has given up and all has been cleaned
/// up; a completion can't, once what was staged is aborted. That happens unless it is completed.
struct StagedSuccess {
    output: Location,
    staging: Location,
    staged: Staged,
    completed: bool,
}

/// Times that the completion of `_SUCCESS` is asked for, while it isn't known whether it is done.
const COMPLETIONS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(100);

impl StagedSuccess {
    fn new(run: &Publication, success: &Success) -> Result<Self> {
        let json = serde_json::to_vec_pretty(success)
            .map_err(|e| Error::permanent("can't write _SUCCESS").because(e))?;
        let key = run.output.join(SUCCESS).key;
        let mut writer = run.output.store.stage(&key, &run.staging.key)?;
        writer.write(&json)?;
        let staged = writer.finish()?;
        let Publication { output, staging, .. } = run.uninterrupted();
        Ok(Self { output, staging, staged, completed: false })
    }

    fn complete(mut self, success: &Success, replaces: bool) -> Result<()> {
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
                    return Ok(());
                }
                Ok(Created::Exists) => break,
                Err(error) if !error.is_retryable() || last == 0 => {
                    // What was asked for may be done, but no longer when this is.
                    mark::abort_success(&self.output, &self.staging, &self.staged)?;
                    return if is_there(&place, success)? { Ok(()) } else { Err(error) };
                }
                Err(_) if is_there(&place, success)? => return Ok(()),
                Err(_) => {}
            }
            clock::sleep(pause);
            pause *= 2;
        }
        if is_there(&place, success)? {
            return Ok(());
        }
        Err(Error::permanent(format!("{} is there: another run was first", place.url(&place.key))))
    }
}

impl Drop for StagedSuccess {
    fn drop(&mut self) {
        if !self.completed
            && let Err(error) = mark::abort_success(&self.output, &self.staging, &self.staged)
        {
            tracing::warn!(%error, causes = ?error.causes(), "A `_SUCCESS` that was staged is left.");
        }
    }
}

/// Whether this run's `_SUCCESS` is there.
fn is_there(place: &Location, success: &Success) -> Result<bool> {
    let there = place.store.start(&place.key, MAX_SUCCESS)?;
    Ok(there
        .and_then(|there| serde_json::from_slice::<Success>(&there).ok())
        .is_some_and(|there| there.id == success.id))
}

/// Removes the intermediate data of a run that has succeeded, then its lock.
pub fn tidy_up(run: &Publication) -> Result<()> {
    let run = &run.uninterrupted();
    patiently(|| try_tidy_up(run))
}

fn try_tidy_up(run: &Publication) -> Result<()> {
    // The plans go first: whoever writes something after that finds by them that it has to go again.
    let plans: Vec<String> = run.works.iter().map(|work| work.join(plan::HEAD).key).collect();
    run.folder.store.delete(&plans)?;
    let places = run.run_places();
    sign::abort_uploads(places)?;
    sign::remove_folders(places)?;
    lock::release_of(&run.output, &run.owner)
}

/// Ends a run that has succeeded and leaves its intermediate data.
fn leave(run: &Publication) -> Result<()> {
    sign::abort_uploads(run.run_places())?;
    sign::take_down(&run.staging)?;
    lock::release_of(&run.output, &run.owner)
}

/// Removes all that a run without success has left: its staged parts, those that appeared already, its
/// intermediate data, and its lock. The result of a run whose last words were lost is left, and given.
pub fn abandon(run: &Publication, parts: impl Fn() -> Result<Vec<StagedPart>>) -> Result<Option<Success>> {
    let run = &run.uninterrupted();
    patiently(|| match succeeded(run)? {
        Some(success) => try_tidy_up(run).map(|()| Some(success)),
        None => try_abandon(run, &parts()?),
    })
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
    if let Err(error) = abandon(run, || Ok(parts.clone())) {
        tracing::warn!(%error, causes = ?error.causes(), "What the run has written is left.");
    }
    true
}

fn try_abandon(run: &Publication, parts: &[StagedPart]) -> Result<Option<Success>> {
    // From then on it can't succeed any more, by whatever was asked for: but it may have until then.
    let mark = Mark::read(&run.staging)?;
    let staged = turn::staged(run)?;
    let staged: Vec<&Staged> = staged.iter().chain(mark.iter().map(|mark| &mark.success)).collect();
    for staged in &staged {
        mark::abort_success(&run.output, &run.staging, staged)?;
    }
    if !staged.is_empty()
        && let Some(success) = succeeded(run)?
    {
        return try_tidy_up(run).map(|()| Some(success));
    }
    // Parts appear under the lock alone: without it, what is there is somebody else's.
    let begun = mark.is_some() && lock::is_held(&run.output, &run.owner)?;
    // Beside another run's `_SUCCESS` nothing of ours has appeared yet. Where an old one went, what is left of the
    // old result is none.
    let success = run.output.join(SUCCESS);
    let begun = begun && success.store.head(&success.key)?.is_none();
    let replaces = run.spec().output.if_exists == IfExists::Replace;
    let remove = |part: &StagedPart| {
        let key = run.output.join(&part.name).key;
        run.output.store.abort(&key, &part.staged)?;
        if begun && (replaces || MarkedPart::of(part).is_there(&run.output)?) {
            run.output.store.delete(&[key])
        } else {
            Ok(())
        }
    };
    // One that can't be removed doesn't keep the others.
    let removed: Vec<Result<()>> = parts.iter().map(remove).collect();
    removed.into_iter().collect::<Result<()>>()?;
    try_tidy_up(run).map(|()| None)
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
