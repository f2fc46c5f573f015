//! Random numbers: for names that nobody else has, and so that many don't do the same at the same moment.
#![allow(clippy::disallowed_methods, reason = "this is what is called instead")]

use uuid::Uuid;

use super::simulated;

/// A name that nobody else has.
pub fn name() -> Uuid {
    match simulated() {
        None => Uuid::new_v4(),
        Some(machine) => uuid::Builder::from_random_bytes(machine.number().to_be_bytes()).into_uuid(),
    }
}

/// A number below this one.
pub fn below(end: u32) -> u32 {
    (name().as_u128() % u128::from(end.max(1))) as u32
}
