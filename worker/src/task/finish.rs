//! The end of a job: its parts appear, then `_SUCCESS`, then the intermediate data goes.
//!
//! Whatever happens in between can be done again: completing what is complete is not an error, and
//! `_SUCCESS` names the run that wrote it.

use std::collections::HashSet;

use mapreduce_api::ids::{AttemptId, JobId};
use mapreduce_api::v1alpha1::{Cleanup, IfExists};

pub use super::output_check::check_output;
use super::output_check::{nothing_may_be_there, old_contents, replaceable_keys};
use super::run_end::leave;
pub use super::run_end::{abandon, committed_parts, stop, tell_what_is_left, tidy_up};
pub use super::success::{Fate, OutputObject, Success, fate, succeeded};
use super::success::{StagedSuccess, read_success};
use crate::commit::lock::{self, OutputLock, WhenHeld};
use crate::error::{Error, ErrorKind, Result};
use crate::function::context::check_user_counters;
use crate::machine::threads::in_parallel;
use crate::output::StagedPart;
use crate::output::replaceable::SUCCESS;
use crate::plan;
use crate::plan::completed::CompletedSteps;
use crate::record::skipped;
use crate::storage::Created;
use crate::task::mark::{Mark, MarkedPart};
use crate::task::publication::Publication;
use crate::task::{attempts, lost, turn};

/// Runs that a result remembers to have replaced.
const REMEMBERED: usize = 100;

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
        tracing::warn!(%error, causes = error.causes_text(), "Intermediate data is left.");
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
        IfExists::Fail => WhenHeld::Fails,
        IfExists::Replace => WhenHeld::Waits,
    };
    let lock = OutputLock::take(&run.output, &run.owner, held, || run.check_cancelled())?;
    publish_locked(run, done, parts, attempt, &lock).inspect_err(|error| {
        let run = run.uninterrupted();
        // Where the run is over nobody else removes what this attempt has written since. Where parts may have appeared,
        // or another attempt goes on, the lock stays: it is the run's, and goes with it.
        let tidied = if attempt.is_some() && matches!(plan::is_there(run.last_work()), Ok(false)) {
            tidy_up(&run)
        } else if (attempt.is_none() || error.kind() == ErrorKind::Permanent)
            && matches!(Mark::is_there(&run.staging), Ok(false))
        {
            lock::release_of(&run.output, &run.owner)
        } else {
            Ok(())
        };
        if let Err(error) = tidied {
            tracing::warn!(%error, causes = error.causes_text(), "The output's lock is left.");
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
    staged.complete(success, replaces)
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
    let CompletedSteps { total: counters, steps, skew_percent, .. } = done.clone();
    let (name, id) = (run.context.name.clone(), run.context.id.clone());
    Success { name, id, counters, steps, skew_percent, outputs: parts.iter().map(output).collect(), replaced }
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
