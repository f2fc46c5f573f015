//! What a run of one process left that was killed: the next run to its output prefix removes it.
//!
//! ```text
//!  <output>/_mapreduce-<run>/owner        the run, its process, where its intermediate data is
//!  <output>/_mapreduce-<run>/publishing   its parts that may have appeared
//! ```
//!
//! Only of a process of this machine it can be known that it is gone. What other runs left is theirs: their
//! operator removes it, or a person who knows. A folder without a sign and without a plan is nobody's: a request that
//! everybody had given up was done when its run had been cleaned up.

use std::collections::BTreeSet;

use mapreduce_api::ids::JobId;

use crate::commit::lock::{self, OutputLock, WhenHeld};
use crate::commit::sign::{self, RunPlaces, Sign};
use crate::error::Result;
use crate::job::Job;
use crate::output::replaceable::{SUCCESS, WORK, is_uploaded};
use crate::plan;
use crate::storage::Location;
use crate::task::mark::{self, Mark, MarkedPart};

/// Removes what dead runs left at the output prefix. This run goes on if something can't be removed.
pub(super) fn remove(job: &Job) {
    let keys = match job.places().output.store.contents(&job.places().output.key) {
        Ok(contents) => contents.keys,
        // Whoever looks at the output next says so.
        Err(_) => return,
    };
    let folders = keys.iter().filter_map(|key| {
        let (run, _) = key.strip_prefix(&job.places().output.key)?.strip_prefix(WORK)?.split_once('/')?;
        Some(run)
    });
    let folders: BTreeSet<&str> = folders.collect();
    let removed: Vec<Result<()>> = folders
        .into_iter()
        .map(|run| {
            let staging = job.places().output.join(&format!("{WORK}{run}/"));
            let has_plan = keys.iter().any(|key| {
                key.strip_prefix(&staging.key).is_some_and(|name| name.rsplit('/').next() == Some(plan::HEAD))
            });
            remove_run(job, &JobId::new(run), &staging, has_plan)
        })
        .collect();
    let has_lock = keys.contains(&lock::place(&job.places().output).key);
    // Where parts of a dead run may be left, its lock says so.
    let unlock = |()| if has_lock { lock::release_of_dead(&job.places().output) } else { Ok(()) };
    if let Err(error) = removed.into_iter().collect::<Result<()>>().and_then(unlock) {
        tracing::warn!(%error, causes = error.causes_text(), "What a killed run left can't be removed.");
    }
}

fn remove_run(job: &Job, run: &JobId, staging: &Location, has_plan: bool) -> Result<()> {
    let Some(sign) = Sign::read(staging)? else {
        return if has_plan { Ok(()) } else { staging.store.delete_prefix(&staging.key) };
    };
    if sign.owner.id != *run || !sign.owner.is_dead() {
        return Ok(());
    }
    tracing::warn!(run = %sign.owner, "What a killed run left is removed.");
    if let Some(mark) = Mark::read(staging)? {
        take_back(job, staging, &mark)?;
    }
    // A folder elsewhere is named after the run.
    let folder = if sign.folder.ends_with(&format!("/{run}/")) {
        job.places().stores.locate(&sign.folder)?
    } else {
        staging.clone()
    };
    let places = RunPlaces { output: &job.places().output, staging, folder: &folder };
    sign::abort_uploads(places)?;
    lock::release_of(&job.places().output, &sign.owner)?;
    sign::remove_folders(places)
}

/// Removes parts that appeared without a `_SUCCESS` beside them.
fn take_back(job: &Job, staging: &Location, mark: &Mark) -> Result<()> {
    let output = &job.places().output;
    mark::abort_success(output, staging, &mark.success)?;
    // A completion may still be under way: from now on it finds nothing.
    mark.parts.iter().try_for_each(|part| mark::abort(output, staging, &part.name, &part.staged))?;
    // Under the lock: another run that has taken it over may be publishing parts of the same names.
    let _lock = OutputLock::take(&job.places().output, &job.publication().owner, WhenHeld::Fails, || {
        job.run().check_cancelled()
    })?;
    let success = job.places().output.join(SUCCESS);
    let removed = match success.store.head(&success.key) {
        Ok(None) => remove_parts(&job.places().output, &mark.parts),
        looked => looked.map(drop),
    };
    let released = lock::release_of(&job.places().output, &job.publication().owner);
    removed.and(released)
}

fn remove_parts(output: &Location, parts: &[MarkedPart]) -> Result<()> {
    for part in parts.iter().filter(|part| is_uploaded(&part.name) && part.name != SUCCESS) {
        if part.is_there(output)? {
            output.store.delete(&[output.join(&part.name).key])?;
        }
    }
    Ok(())
}
