//! A run's sign at the output prefix, and the uploads that the last run to leave aborts.
//!
//! ```text
//!  <output>/_mapreduce-<run>/owner    the run; uploads that were there before it; whether it has ended
//! ```
//!
//! An upload has no owner: a list of them has keys and ids, and two runs may both upload `part-00000`. A process
//! that is killed leaves its own, and only it knew the id. So it is found out by exclusion. A run's are
//!
//! * of keys that runs write,
//! * begun since the run has its sign there: those that were there before are in it,
//! * not another run's that is still at work: then they are left to that one, which doesn't have them in its sign.
//!
//! A sign is there before its run's first upload, and a list of uploads is older than the look at the signs that
//! follows it: so whose upload is in the list has its sign seen, or has ended. Who ends says so in its sign before it
//! looks at the others' signs; of two that end at once the later one finds nobody else. All of that costs a run two
//! lists of uploads, and more only where one is found that nobody has ended.

use serde::{Deserialize, Serialize};

use super::owner::Owner;
use crate::error::{Error, Result};
use crate::output::replaceable::{WORK, is_uploaded};
use crate::plan::probe;
use crate::storage::once::create_once;
use crate::storage::{Location, PendingUpload, Staged};

/// The name of a [`Sign`] in its run's folder at the output prefix.
pub const OWNER: &str = "owner";
/// A server may write parts that were under way when their upload was aborted: then it is listed once more.
const ROUNDS: u32 = 3;

/// What a run says of itself while it is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sign {
    /// The run.
    pub owner: Owner,
    /// The URL of its intermediate data.
    pub folder: String,
    /// Uploads at the output prefix that are older than the run. None where the store doesn't list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uploads_before: Option<Vec<PendingUpload>>,
    /// The URL of its plan, where its tasks begin only when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// It begins no more uploads.
    #[serde(default, skip_serializing_if = "is_false")]
    has_ended: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Where a run works.
#[derive(Clone, Copy, Debug)]
pub struct RunPlaces<'a> {
    /// The output prefix.
    pub output: &'a Location,
    /// The folder there.
    pub staging: &'a Location,
    /// The prefix of its intermediate data; it may be the same.
    pub folder: &'a Location,
}

impl Sign {
    /// Whether it may have begun an upload of a part.
    fn may_own(&self, upload: &PendingUpload) -> bool {
        self.uploads_before.as_ref().is_some_and(|before| !before.contains(upload))
    }

    /// Whether its run may have uploads under way. Without a plan it has none yet or has ended: the plan goes first.
    /// So a sign that is written late, when its run has been given up, does no harm.
    pub fn is_at_work(&self, output: &Location) -> Result<bool> {
        if self.has_ended || self.owner.is_dead() {
            return Ok(false);
        }
        match self.plan.as_ref().and_then(|plan| plan.strip_prefix(&output.base)) {
            Some(plan) => Ok(output.store.head(plan)?.is_some()),
            None => Ok(true),
        }
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::permanent("can't write who runs").because(e))
    }

    /// What is read from a run's folder at the output prefix.
    pub fn read(staging: &Location) -> Result<Option<Self>> {
        let place = staging.join(OWNER);
        let bytes = place.store.get(&place.key)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

/// Says that a run is at work, before it writes anything else. Of several processes of a run the first has said it.
pub fn put_up(places: RunPlaces<'_>, owner: Owner, plan: Option<&Location>) -> Result<()> {
    let RunPlaces { output, staging, folder } = places;
    let mut uploads_before = output.store.uploads(&output.key)?;
    if let Some(before) = uploads_before.as_mut().filter(|before| !before.is_empty()) {
        // What a run that is here may have begun is left to whoever of us is the last.
        let others = signs(output)?;
        before.retain(|upload| is_part(output, upload) && !others.iter().any(|other| other.may_own(upload)));
    }
    let has_log_there = plan.is_some() && folder.base == output.base;
    let (folder, plan) = (folder.url(&folder.key), plan.map(|plan| plan.url(&plan.key)));
    let sign = Sign { owner, folder, uploads_before, plan, has_ended: false }.to_bytes()?;
    let place = staging.join(OWNER);
    create_once(&place, &sign, 1, |_| true)?;
    // A store that takes it once more can't keep two runs apart. That of the commit log is looked at by the plan.
    if has_log_there { Ok(()) } else { probe::refuses(&place, &sign) }
}

/// The signs of all runs at an output prefix.
fn signs(output: &Location) -> Result<Vec<Sign>> {
    let mut found = Vec::new();
    for key in output.store.contents(&output.key)?.keys {
        let run = key.strip_prefix(&output.key).and_then(|name| name.strip_prefix(WORK));
        if let Some(run) = run.and_then(|name| name.strip_suffix(OWNER)?.strip_suffix('/'))
            && !run.contains('/')
        {
            found.extend(Sign::read(&output.join(&format!("{WORK}{run}/")))?);
        }
    }
    Ok(found)
}

/// Aborts uploads that nobody will end, of a run none of whose processes is to begin one.
pub fn abort_uploads(places: RunPlaces<'_>) -> Result<()> {
    let RunPlaces { output, staging, folder } = places;
    if folder.base != output.base || !folder.key.starts_with(&output.key) {
        let own = folder.store.uploads(&folder.key)?;
        abort(folder, &own.unwrap_or_default())?;
    }
    for _ in 0..ROUNDS {
        let found = output.store.uploads(&output.key)?.unwrap_or_default();
        // What is in the run's own folder is its own.
        let (own, others) =
            found.into_iter().partition::<Vec<_>, _>(|upload| upload.key.starts_with(&staging.key));
        let parts = others.into_iter().filter(|upload| is_part(output, upload)).collect();
        let orphans = [own, orphans(places, parts)?].concat();
        if orphans.is_empty() {
            break;
        }
        abort(output, &orphans)?;
    }
    Ok(())
}

/// Those of these uploads that don't belong to another run at work.
fn orphans(places: RunPlaces<'_>, found: Vec<PendingUpload>) -> Result<Vec<PendingUpload>> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let Some(mut sign) = Sign::read(places.staging)? else { return Ok(Vec::new()) };
    let ours: Vec<PendingUpload> = found.into_iter().filter(|upload| sign.may_own(upload)).collect();
    if ours.is_empty() {
        return Ok(ours);
    }
    if !sign.has_ended {
        sign.has_ended = true;
        let place = places.staging.join(OWNER);
        place.store.put(&place.key, sign.to_bytes()?)?;
    }
    for other in signs(places.output)? {
        if other.owner.id != sign.owner.id && other.is_at_work(places.output)? {
            tracing::info!(uploads = ours.len(), run = %other.owner, "Unfinished uploads may be another run's, and are left to it.");
            return Ok(Vec::new());
        }
    }
    Ok(ours)
}

fn is_part(output: &Location, upload: &PendingUpload) -> bool {
    upload.key.strip_prefix(&output.key).is_some_and(is_uploaded)
}

fn abort(place: &Location, uploads: &[PendingUpload]) -> Result<()> {
    uploads.iter().try_for_each(|PendingUpload { key, id }| {
        place.store.abort(key, &Staged::Upload { id: id.clone(), parts: Vec::new() })
    })
}

/// Removes all that a run has in its folders, and last its sign: whoever finds a folder without one may remove it.
pub fn remove_folders(places: RunPlaces<'_>) -> Result<()> {
    let RunPlaces { staging, folder, .. } = places;
    if folder.base != staging.base || folder.key != staging.key {
        folder.store.delete_prefix(&folder.key)?;
    }
    let sign = staging.join(OWNER).key;
    let mut keys = staging.store.contents(&staging.key)?.keys;
    keys.retain(|key| *key != sign);
    staging.store.delete_below(&staging.key, &keys)?;
    // Folders are the file system's alone.
    if staging.is_local() { staging.store.delete_prefix(&staging.key) } else { take_down(staging) }
}

/// Removes a run's sign.
pub fn take_down(staging: &Location) -> Result<()> {
    staging.store.delete(&[staging.join(OWNER).key])
}
