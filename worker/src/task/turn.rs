//! Whose turn it is to publish.
//!
//! ```text
//!  finish/00000  r-00001's attempt        it publishes; another that takes itself for the last waits a while for
//!  finish/00001  r-00000's attempt        `_SUCCESS`, and only then goes on in its place
//! ```
//!
//! Each says where its `_SUCCESS` is staged, so that whoever cleans up can abort it.
//!
//! Two attempts of one run may both find all tasks committed. Parts don't mind being completed twice. But one of
//! the two removes the old `_SUCCESS`, and that must not be the new one, which the other has just written.

use std::time::Duration;

use mapreduce_api::ids::AttemptId;
use serde::{Deserialize, Serialize};

use super::finish::{Success, succeeded};
use super::publication::Publication;
use crate::error::{Error, Result};
use crate::machine::clock;
use crate::storage::Staged;
use crate::storage::once::{Won, create_once};

/// A turn.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FinisherTurn {
    attempt: AttemptId,
    success: Staged,
}

/// More than a turn's bytes, but for an upload's id that no server gives.
const LOOK_AT: u64 = 16 << 10;

fn name(turn: u32) -> String {
    format!("finish/{turn:05}")
}

/// How long an attempt waits for the one whose turn it is.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// Attempts of one run that may die while they publish.
const MAX_TURNS: u32 = 1000;

/// Waits until this attempt, whose `_SUCCESS` is staged, may publish, or gives the result of the run that has
/// succeeded meanwhile.
pub(super) fn take(run: &Publication, attempt: &AttemptId, success: &Staged) -> Result<Option<Success>> {
    let ours = serde_json::to_vec(&FinisherTurn { attempt: attempt.clone(), success: success.clone() })
        .map_err(|e| Error::permanent("can't write whose turn it is").because(e))?;
    for turn in 0..MAX_TURNS {
        let place = run.last_work().join(&name(turn));
        if create_once(&place, &ours, LOOK_AT, |there| there == ours)? == Won::Ours {
            let success = succeeded(run)?;
            if success.is_some() {
                place.store.delete(std::slice::from_ref(&place.key))?;
            }
            return Ok(success);
        }
        let next = run.last_work().join(&name(turn + 1));
        let begun = clock::now();
        while clock::now().duration_since(begun) < PATIENCE && next.store.head(&next.key)?.is_none() {
            if let Some(success) = succeeded(run)? {
                return Ok(Some(success));
            }
            run.check_cancelled()?;
            clock::sleep(PAUSE);
        }
    }
    Err(Error::permanent("a thousand attempts have died while they published the result"))
}

/// Where those whose turn it was have staged `_SUCCESS`.
pub(super) fn staged(run: &Publication) -> Result<Vec<Staged>> {
    let mut found = Vec::new();
    for turn in 0..MAX_TURNS {
        let place = run.last_work().join(&name(turn));
        let Some(bytes) = place.store.get(&place.key)? else { break };
        found.extend(serde_json::from_slice::<FinisherTurn>(&bytes).ok().map(|turn| turn.success));
    }
    Ok(found)
}
