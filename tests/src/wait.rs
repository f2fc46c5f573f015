//! Waiting for something that has to come, and not for longer than it may take.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks. Phases last seconds, and a fault must hit one.
const INTERVAL: Duration = Duration::from_millis(150);

/// Looks until there is something. `what` says what is waited for.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("waited {} s in vain: {what}", limit.as_secs());
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Looks until it is so.
pub fn until_true(what: &str, limit: Duration, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, limit, || Ok(look()?.then_some(())))
}
