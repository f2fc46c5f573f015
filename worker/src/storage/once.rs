//! A conditional create that is believed only when it shows who won.
//!
//! A store may answer a create with "try again" (S3's 409), with nothing though it did it, or with "there is
//! one" though that is one's own. So nobody believes the answer: [`create_once`] looks who won.

use std::time::Duration;

use super::{Created, Location};
use crate::error::{Error, Result};
use crate::machine::clock;

/// Who won a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Won {
    /// These bytes stand.
    Ours,
    /// Others do: the first of them, as many as were looked at.
    Theirs(Vec<u8>),
}

/// Creates, and looks who won, at most so often.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Creates an object where there is none, and says whose stands there. `is_ours` knows our own bytes by the
/// first `look_at` of them.
///
/// # Errors
///
/// When it could not be found out: then ours may stand, and nothing that it refers to may be removed.
pub fn create_once(
    place: &Location,
    bytes: &[u8],
    look_at: u64,
    is_ours: impl Fn(&[u8]) -> bool,
) -> Result<Won> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        let doubt = match place.store.create(&place.key, bytes.to_vec()) {
            Ok(Created::New) => return Ok(Won::Ours),
            Ok(Created::Exists) => None,
            Err(error) if error.is_retryable() => Some(error),
            Err(error) => return Err(error),
        };
        match place.store.start(&place.key, look_at) {
            Ok(Some(there)) if is_ours(&there) => return Ok(Won::Ours),
            Ok(Some(there)) => return Ok(Won::Theirs(there)),
            Err(error) if !error.is_retryable() => return Err(error),
            Ok(None) | Err(_) => {}
        }
        tries += 1;
        if tries == TRIES {
            let url = place.url(&place.key);
            return Err(doubt.unwrap_or_else(|| {
                Error::retry(format!("can't write {url}: the store says that it is there, and that it isn't"))
            }));
        }
        clock::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}
