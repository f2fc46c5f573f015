//! What may be at the output prefix when a run begins, and when its parts are about to appear.

use std::collections::HashSet;

use mapreduce_api::v1alpha1::IfExists;

use super::publication::Publication;
use super::success::MAX_SUCCESS;
use crate::commit::lock;
use crate::commit::sign::OWNER;
use crate::error::{Error, Result};
use crate::output::replaceable::{SUCCESS, WORK, is_temporary, replaceable};
use crate::plan;
use crate::storage::{Contents, Location};

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

/// An error that names what is there.
pub(super) fn nothing_may_be_there(run: &Publication, contents: &Contents) -> Result<()> {
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
/// that is not a result, and its run takes the lock before anything of it appears.
pub(super) fn old_contents(run: &Publication) -> Result<Contents> {
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
pub(super) fn replaceable_keys(run: &Publication, contents: Contents) -> Result<Vec<String>> {
    let success = run.output.join(SUCCESS);
    let success = success.store.start(&success.key, MAX_SUCCESS)?;
    replaceable(&run.output, contents, success.as_deref())
}
