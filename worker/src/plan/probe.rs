//! Whether a store knows the condition that commits stand on.

use crate::error::{Error, Result};
use crate::storage::{Created, Location};

/// Times that a store is asked: what was there may be removed in between, when the run ends meanwhile.
const TRIES: u32 = 4;

/// An error where a store writes over an object that is there, though it was asked to create one.
pub(crate) fn refuses(place: &Location, there: &[u8]) -> Result<()> {
    for written in 0..TRIES {
        if place.store.create(&place.key, there.to_vec())? == Created::New {
            continue;
        }
        if written == 0 {
            return Ok(());
        }
        // It was gone: the run is over, and nobody else removes what has come back.
        place.store.delete(std::slice::from_ref(&place.key))?;
        return Err(Error::permanent("the job has ended, and its intermediate data was removed"));
    }
    Err(Error::permanent(format!(
        "{} does not create objects conditionally: it wrote over one that it was to leave (`If-None-Match: *`)",
        place.base
    ))
    .because("two attempts at a task could both be committed there: use a store that refuses it"))
}
