//! What a run of one process left that was killed: the next run to its output prefix removes it.
//!
//! ```text
//!  <output>/_mapreduce-<run>/owner        the run, its process, where its intermediate data is
//!  <output>/_mapreduce-<run>/publishing   its parts that may have appeared
//! ```
//!
//! Only of a process of this machine it can be known that it is gone. What other runs left is theirs: their
//! operator removes it, or a person who knows.

use mapreduce_api::ids::JobId;

use crate::commit::lock;
use crate::commit::owner::{OWNER, Sign};
use crate::error::Result;
use crate::job::Job;
use crate::output::replaceable::{SUCCESS, WORK};
use crate::plan::probe;
use crate::storage::Location;
use crate::task::finish::PUBLISHING;

/// Says that this run is at work, in its folder at the output prefix. A store that takes the sign once more, as one to
/// be created, can't keep two runs apart.
pub(super) fn sign(job: &Job) -> Result<()> {
    let sign =
        Sign { owner: job.publication().owner, folder: job.places().folder.url(&job.places().folder.key) };
    let (place, sign) = (job.places().staging.join(OWNER), serde_json::to_vec(&sign).unwrap_or_default());
    place.store.put(&place.key, sign.clone())?;
    probe::refuses(&place, &sign)
}

/// Removes what dead runs left at the output prefix. That it can't be removed is no matter for this run.
pub(super) fn remove(job: &Job) {
    let keys = match job.places().output.store.contents(&job.places().output.key) {
        Ok(contents) => contents.keys,
        // Whoever looks at the output next says so.
        Err(_) => return,
    };
    let runs = keys.iter().filter_map(|key| {
        let run = key
            .strip_prefix(&job.places().output.key)?
            .strip_prefix(WORK)?
            .strip_suffix(OWNER)?
            .strip_suffix('/')?;
        Some(JobId::new(run))
    });
    let has_lock = keys.contains(&lock::place(&job.places().output).key);
    // Where parts of a dead run may be left, its lock says so.
    let removed: Vec<Result<()>> = runs.map(|run| remove_run(job, &run)).collect();
    let unlock = |()| if has_lock { lock::release_of_dead(&job.places().output) } else { Ok(()) };
    let unlocked = removed.into_iter().collect::<Result<()>>().and_then(unlock);
    if let Err(error) = unlocked {
        tracing::warn!(%error, causes = ?error.causes(), "What a killed run left can't be removed.");
    }
}

fn remove_run(job: &Job, run: &JobId) -> Result<()> {
    let staging = job.places().output.join(&format!("{WORK}{run}/"));
    let read = |name: &str| {
        let place = staging.join(name);
        place.store.get(&place.key)
    };
    let Some(sign) = read(OWNER)?.and_then(|bytes| serde_json::from_slice::<Sign>(&bytes).ok()) else {
        return Ok(());
    };
    if sign.owner.id != *run || !sign.owner.is_dead() {
        return Ok(());
    }
    tracing::warn!(run = %sign.owner, "What a killed run left is removed.");
    let success = job.places().output.join(SUCCESS);
    if success.store.head(&success.key)?.is_none() {
        remove_parts(&job.places().output, read(PUBLISHING)?.as_deref())?;
    }
    // A folder elsewhere is named after the run.
    if sign.folder.ends_with(&format!("/{run}/")) {
        let folder = job.places().stores.locate(&sign.folder)?;
        folder.store.delete_prefix(&folder.key)?;
    }
    staging.store.delete_prefix(&staging.key)
}

/// Removes parts that appeared without a `_SUCCESS` beside them.
fn remove_parts(output: &Location, names: Option<&[u8]>) -> Result<()> {
    let names: Vec<String> = names.and_then(|names| serde_json::from_slice(names).ok()).unwrap_or_default();
    let is_part = |name: &String| {
        name.starts_with("part-") && !name.contains('/') || name.starts_with("_skipped/part-")
    };
    let keys: Vec<String> = names.into_iter().filter(is_part).map(|name| output.join(&name).key).collect();
    output.store.delete(&keys)
}
