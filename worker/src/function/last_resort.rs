//! What is done about a function that can't be stopped.
//!
//! ```text
//!  task's thread   map(…) ──> includes(…) ─────────────────────────────────────── … hours
//!  watcher             no progress ── timeout ──> asked to stop ── grace ──> ends the process
//! ```
//!
//! A script ends where its engine asks whether it should: between two of its own steps, not in the middle of one
//! call of a built-in function, and one such call can compare megabytes with megabytes. Nothing ends a thread from
//! outside, but a process can be ended: then a pod's attempt has failed, and the next one begins anew.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::watchdog::Watchdog;
use crate::error::{Error, Result};
use crate::machine::{clock, threads};

/// Ends the process, if whoever has started the job has said how.
#[derive(Clone, Default)]
pub struct LastResort(Option<Arc<EndProcess>>);

/// Is told why.
type EndProcess = dyn Fn(Error) + Send + Sync;

impl std::fmt::Debug for LastResort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LastResort").field(&self.0.is_some()).finish()
    }
}

/// How long code that was asked to stop may take to do so.
const GRACE: Duration = Duration::from_secs(2);
/// How often the watcher looks.
const TICK: Duration = Duration::from_millis(200);

impl LastResort {
    /// Calls `end` when a function can't be stopped.
    pub fn new(end: impl Fn(Error) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(end)))
    }

    /// The same, with another look at the error before.
    #[must_use]
    pub(crate) fn with(&self, change: impl Fn(Error) -> Error + Send + Sync + 'static) -> Self {
        let changed = |end: &Arc<EndProcess>| -> Arc<EndProcess> {
            let end = Arc::clone(end);
            Arc::new(move |error| end(change(error)))
        };
        Self(self.0.as_ref().map(changed))
    }

    /// Watches code until what is returned is dropped.
    pub(in crate::function) fn watch(&self, limits: &Watchdog, name: &str) -> Result<Option<Watch>> {
        let Some(end) = self.0.clone() else { return Ok(None) };
        let (ended, wait) = channel::<()>();
        let (limits, name) = (limits.clone(), name.to_owned());
        let watch = move || {
            let patience = limits.timeout() + GRACE;
            let (mut seen, mut since) = (limits.steps(), clock::now());
            while wait.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let steps = limits.steps();
                if steps != seen || !limits.is_inside() {
                    (seen, since) = (steps, clock::now());
                } else if clock::now().duration_since(since) >= patience {
                    return end(limits.unstoppable(&name));
                }
            }
        };
        threads::detach("watch", watch).map_err(|e| Error::retry("can't start a thread").because(e))?;
        Ok(Some(Watch { _ended: ended }))
    }
}

/// Code that is being watched.
#[derive(Debug)]
pub(in crate::function) struct Watch {
    _ended: Sender<()>,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use super::{GRACE, LastResort, TICK};
    use crate::function::watchdog::Watchdog;

    /// What was said of code that took this part of its time for itself, and never made progress.
    fn said(code: impl FnOnce(&Watchdog)) -> Vec<String> {
        let said = Arc::new(Mutex::new(Vec::new()));
        let says = Arc::clone(&said);
        let last_resort = LastResort::new(move |error| says.lock().unwrap().push(error.to_string()));
        let limits = Watchdog::new(CancellationToken::new(), Duration::ZERO);
        let watch = last_resort.watch(&limits, "the script").unwrap();
        limits.inside(|| code(&limits));
        drop(watch);
        let said = said.lock().unwrap();
        said.clone()
    }

    #[test]
    fn code_that_does_not_end_is_told_of_once() {
        let said = said(|_| std::thread::sleep(GRACE + 20 * TICK));
        assert_eq!(said, ["the script made no progress for 0 s"]);
    }

    #[test]
    fn time_that_the_engine_takes_for_a_call_is_not_the_codes() {
        let said = said(|limits| limits.outside(|| std::thread::sleep(GRACE + 20 * TICK)));
        assert!(said.is_empty(), "{said:?}");
    }
}
