//! The lock of an output prefix: one run at a time lets its parts appear there.
//!
//! ```text
//!  run A   create <output>/_mapreduce-lock ──> look at the prefix ──> parts, _SUCCESS ──> remove the lock
//!  run B   create: there is A's            ──> Fail: A was first    Replace: wait, then look again
//! ```
//!
//! It names its run, and any process of that run may go on under it. A run that is killed leaves it: of a run in
//! one process that is certainly gone it is taken over, of any other it is an error that says what to type.

use std::time::Duration;

use super::owner::Owner;
use crate::error::{Error, Result};
use crate::machine::clock;
use crate::output::replaceable::WORK;
use crate::storage::Location;
use crate::storage::once::{Won, create_once};

/// Bytes of a lock that are looked at.
const LOOK_AT: u64 = 4096;
/// How long a run waits for another one to publish.
const PATIENCE: Duration = Duration::from_mins(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// The lock's place at an output prefix.
pub fn place(output: &Location) -> Location {
    output.join(&format!("{WORK}lock"))
}

/// A lock that this run holds.
#[derive(Debug)]
pub struct OutputLock {
    place: Location,
    owner: Owner,
}

/// What a run does about the lock of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenHeld {
    /// The other one was first.
    Fails,
    /// It waits until the other one is done.
    Waits,
}

impl OutputLock {
    /// Takes the lock of an output prefix for a run.
    ///
    /// # Errors
    ///
    /// Where another run holds it: at once, or when it has been waited for long enough.
    pub fn take(
        output: &Location,
        owner: &Owner,
        held: WhenHeld,
        check_cancelled: impl Fn() -> Result<()>,
    ) -> Result<Self> {
        let place = place(output);
        let begun = clock::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let is_ours = |there: &[u8]| Owner::parse(there).is_some_and(|there| there.id == owner.id);
            let theirs = match create_once(&place, &owner.to_bytes(), LOOK_AT, is_ours)? {
                Won::Ours => return Ok(Self { place, owner: owner.clone() }),
                Won::Theirs(bytes) => bytes,
            };
            let other = Owner::parse(&theirs);
            if other.as_ref().is_some_and(Owner::is_dead) {
                remove_if_still(&place, &theirs)?;
                continue;
            }
            let whose = other
                .map_or_else(|| "a lock that no run can have written".to_owned(), |other| other.to_string());
            let url = place.url(&place.key);
            if held == WhenHeld::Fails {
                return Err(Error::permanent(format!(
                    "another run was there first: {whose}, is publishing to {}",
                    output.url(&output.key)
                ))
                .because(format!(
                    "wait for it; if it was killed, remove {url} and what it left, and run the job again"
                )));
            }
            check_cancelled()?;
            if clock::now().duration_since(begun) > PATIENCE {
                return Err(Error::permanent(format!("{url} is held by another run: {whose}"))
                    .because(format!("if that run was killed, remove {url} and run the job again")));
            }
            clock::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// An error where somebody has taken the lock away.
    pub fn check(&self) -> Result<()> {
        if is_of(&self.place, &self.owner)? {
            return Ok(());
        }
        let url = self.place.url(&self.place.key);
        Err(Error::retry(format!("{url} was taken away while this run was publishing under it")))
    }
}

/// Waits until nobody holds the lock of an output prefix, or long enough.
pub fn wait(output: &Location, check_cancelled: impl Fn() -> Result<()>) -> Result<()> {
    let place = place(output);
    let begun = clock::now();
    let mut pause = FIRST_PAUSE;
    while let Some(holder) = place.store.start(&place.key, LOOK_AT)? {
        let is_dead = Owner::parse(&holder).is_some_and(|owner| owner.is_dead());
        if is_dead || clock::now().duration_since(begun) > PATIENCE {
            break;
        }
        check_cancelled()?;
        clock::sleep(pause);
        pause = (pause * 2).min(LAST_PAUSE);
    }
    Ok(())
}

/// Whether a run holds the lock of an output prefix.
pub fn is_held(output: &Location, owner: &Owner) -> Result<bool> {
    is_of(&place(output), owner)
}

fn is_of(place: &Location, owner: &Owner) -> Result<bool> {
    let there = place.store.start(&place.key, LOOK_AT)?;
    Ok(there.and_then(|there| Owner::parse(&there)).is_some_and(|there| there.id == owner.id))
}

/// Removes the lock of a run, where it is that run's.
pub fn release_of(output: &Location, owner: &Owner) -> Result<()> {
    let place = place(output);
    if is_of(&place, owner)? {
        place.store.delete(&[place.key])?;
    }
    Ok(())
}

/// Removes the lock of a run that was killed, if that is who holds it.
pub fn release_of_dead(output: &Location) -> Result<()> {
    let place = place(output);
    match place.store.start(&place.key, LOOK_AT)? {
        Some(theirs) if Owner::parse(&theirs).is_some_and(|owner| owner.is_dead()) => {
            remove_if_still(&place, &theirs)
        }
        _ => Ok(()),
    }
}

fn remove_if_still(place: &Location, theirs: &[u8]) -> Result<()> {
    if place.store.start(&place.key, LOOK_AT)?.as_deref() == Some(theirs) {
        tracing::warn!(lock = place.url(&place.key), "The lock of a run that was killed is removed.");
        place.store.delete(std::slice::from_ref(&place.key))?;
    }
    Ok(())
}
