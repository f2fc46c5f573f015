//! Whose turn it is to publish.
//!
//! ```text
//!  finish/00000  r-00001's attempt        it publishes; another that takes itself for the last waits a while for
//!  finish/00001  r-00000's attempt        `_SUCCESS`, and only then goes on in its place
//! ```
//!
//! Two attempts of one run may both find all tasks committed. Parts don't mind being completed twice. But one of
//! the two removes the old `_SUCCESS`, and that must not be the new one, which the other has just written.

use std::time::Duration;

use mapreduce_api::ids::AttemptId;

use super::finish::{Success, succeeded};
use super::publication::Publication;
use crate::error::{Error, Result};
use crate::machine::clock;
use crate::storage::once::{Won, create_once};

/// How long an attempt waits for the one whose turn it is.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
/// Attempts of one run that may die while they publish.
const MOST_TURNS: u32 = 1000;

/// Waits until this attempt may publish, or gives the result of the run that has succeeded meanwhile.
pub(super) fn take(run: &Publication, attempt: &AttemptId) -> Result<Option<Success>> {
    for turn in 0..MOST_TURNS {
        let place = run.last_work().join(&format!("finish/{turn:05}"));
        let name = attempt.as_str().as_bytes();
        if create_once(&place, name, 1024, |there| there == name)? == Won::Ours {
            let success = succeeded(run)?;
            if success.is_some() {
                place.store.delete(std::slice::from_ref(&place.key))?;
            }
            return Ok(success);
        }
        let next = run.last_work().join(&format!("finish/{:05}", turn + 1));
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
