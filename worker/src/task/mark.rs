//! What a run notes in its folder before its first part appears, so that whoever comes after it can take back what did.

use std::io::Read as _;

use mapreduce_api::ids::JobId;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::output::replaceable::SUCCESS;
use crate::storage::{Location, Staged, StagedPart};

/// The mark's name. Without `_SUCCESS` beside it, parts that have appeared have to go again.
const PUBLISHING: &str = "publishing";

/// The mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The parts.
    pub(crate) parts: Vec<MarkedPart>,
    /// Where `_SUCCESS` is staged. Once that is aborted, no request for it that is under way can be done any more.
    pub(crate) success: Staged,
    /// The runs whose results go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) replaced: Vec<JobId>,
}

/// What is known of a part that is to appear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkedPart {
    pub(crate) name: String,
    bytes: u64,
    /// XXH3 of its bytes.
    checksum: u64,
    /// What aborts it.
    pub(crate) staged: Staged,
}

impl MarkedPart {
    pub(crate) fn of(part: &StagedPart) -> Self {
        let staged = match &part.staged {
            Staged::Upload { id, .. } => Staged::Upload { id: id.clone(), parts: Vec::new() },
            file @ Staged::File { .. } => file.clone(),
        };
        Self { name: part.name.clone(), bytes: part.bytes, checksum: part.checksum, staged }
    }

    /// Whether the object that is there is this part: by its content, for another one may have its name and size.
    pub(crate) fn is_there(&self, output: &Location) -> Result<bool> {
        let entry = match output.store.head(&output.join(&self.name).key)? {
            Some(entry) if entry.size == self.bytes => entry,
            _ => return Ok(false),
        };
        let mut content = output.store.open(&entry, 0..entry.size)?;
        let (mut checksum, mut buffer) = (Xxh3::new(), vec![0; 64 << 10]);
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(checksum.digest() == self.checksum),
                read => checksum.update(&buffer[..read]),
            }
        }
    }
}

impl Mark {
    /// Whether there is one in a run's folder.
    pub(crate) fn is_there(staging: &Location) -> Result<bool> {
        let place = staging.join(PUBLISHING);
        Ok(place.store.head(&place.key)?.is_some())
    }

    pub(crate) fn read(staging: &Location) -> Result<Option<Self>> {
        let place = staging.join(PUBLISHING);
        let bytes = place.store.get(&place.key)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(crate) fn write(&self, staging: &Location) -> Result<()> {
        let place = staging.join(PUBLISHING);
        let bytes =
            serde_json::to_vec(self).map_err(|e| Error::permanent("can't name the parts").because(e))?;
        place.store.put(&place.key, bytes)
    }
}

/// Aborts a `_SUCCESS` that a run has staged and not completed.
pub(crate) fn abort_success(output: &Location, staging: &Location, staged: &Staged) -> Result<()> {
    abort(output, staging, SUCCESS, staged)
}

/// Aborts what a run has staged, by what it has noted.
pub(crate) fn abort(output: &Location, staging: &Location, name: &str, staged: &Staged) -> Result<()> {
    match staged {
        // It is read from a bucket: no file but the run's own goes.
        Staged::File { path } if !is_inside(&staging.key, path) => Ok(()),
        _ => output.store.abort(&output.join(name).key, staged),
    }
}

/// Whether a path is below a folder by its name.
fn is_inside(folder: &str, path: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|name| name.split('/').all(|part| !matches!(part, "" | "." | "..")))
}
