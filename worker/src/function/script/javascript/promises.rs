//! What a script leaves to be done later: the callbacks of its promises.
//!
//! They are run as soon as the function has returned. What they emit is refused, and a promise that is rejected
//! with nobody to take it is an error: either way a pair would be missing and nobody would know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rquickjs::{Ctx, Runtime};

use super::exception::explained;
use crate::error::{Error, Result};
use crate::function::watchdog::Watchdog;

/// The promises of one engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises(Arc<PromiseState>);

#[derive(Debug, Default)]
struct PromiseState {
    /// The function has returned, and what it left is run.
    over: AtomicBool,
    /// Something was emitted when no call was there for it.
    late: AtomicBool,
    /// There may be a rejection.
    touched: AtomicBool,
    rejected: Mutex<Rejected>,
}

/// Promises that were rejected and that nobody has taken.
#[derive(Debug, Default)]
struct Rejected {
    count: i64,
    error: Option<Error>,
}

impl Promises {
    /// Hears of rejected promises. `name` is what messages call the script.
    pub(super) fn track(&self, runtime: &Runtime, name: &str) {
        let (promises, name) = (self.clone(), name.to_owned());
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, _promise, reason, is_handled| {
                let mut rejected = promises.rejected();
                rejected.count += if is_handled { -1 } else { 1 };
                if !is_handled {
                    rejected.error = Some(explained(&ctx, &name, &reason));
                }
                promises.0.touched.store(true, Ordering::Relaxed);
            },
        )));
    }

    fn rejected(&self) -> std::sync::MutexGuard<'_, Rejected> {
        self.0.rejected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the call is over that a pair could be of.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Relaxed)
    }

    /// Remembers that something was emitted for no call: the script may catch the exception.
    pub(super) fn was_late(&self) {
        self.0.late.store(true, Ordering::Relaxed);
    }

    /// Runs what is left of a call, and says what went wrong there.
    pub(super) fn run(&self, ctx: &Ctx<'_>, limits: &Watchdog, name: &str) -> Result<()> {
        let promises = &*self.0;
        promises.over.store(true, Ordering::Relaxed);
        if ctx.execute_pending_job() {
            limits.inside(|| while !limits.is_stopping() && ctx.execute_pending_job() {});
            limits.check(name)?;
        }
        promises.over.store(false, Ordering::Relaxed);
        if promises.late.swap(false, Ordering::Relaxed) {
            return Err(Error::permanent(format!(
                "{name} called emit when no record or key was being processed, as in a promise's then: \
                 call emit(key, value) before the function returns"
            ))
            .of_record());
        }
        if promises.touched.swap(false, Ordering::Relaxed) {
            let Rejected { count, error } = std::mem::take(&mut *self.rejected());
            if let Some(error) = error.filter(|_| count > 0) {
                return Err(error.because("in a promise, which is not waited for").of_record());
            }
        }
        Ok(())
    }
}
