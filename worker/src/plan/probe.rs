//! Whether a store knows the condition that commits stand on.

use crate::error::{Error, Result};
use crate::storage::{Created, Location};

/// An error where a store writes over an object that is there, though it was asked to create one.
pub(crate) fn refuses(place: &Location, there: &[u8]) -> Result<()> {
    match place.store.create(&place.key, there.to_vec())? {
        Created::Exists => Ok(()),
        Created::New => Err(Error::permanent(format!(
            "{} does not create objects conditionally: it wrote over one that it was to leave (`If-None-Match: *`)",
            place.base
        ))
        .because("two attempts at a task could both be committed there: use a store that refuses it")),
    }
}

/// The same of a place where nothing is yet.
pub(crate) fn is_conditional(place: &Location) -> Result<()> {
    place.store.put(&place.key, b"probe".to_vec())?;
    let refused = refuses(place, b"probe");
    place.store.delete(std::slice::from_ref(&place.key))?;
    refused
}
