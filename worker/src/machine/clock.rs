//! The time.
#![allow(clippy::disallowed_methods, reason = "this is what is called instead")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::simulated;

/// The time.
pub fn now() -> Instant {
    match simulated() {
        None => Instant::now(),
        Some(machine) => {
            static START: OnceLock<Instant> = OnceLock::new();
            *START.get_or_init(Instant::now) + machine.now()
        }
    }
}

/// Waits.
pub fn sleep(time: Duration) {
    match simulated() {
        None => std::thread::sleep(time),
        Some(machine) => machine.sleep(time),
    }
}

/// Seconds since 1970.
pub fn epoch_seconds() -> u64 {
    match simulated() {
        None => {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        }
        Some(machine) => machine.now().as_secs(),
    }
}
