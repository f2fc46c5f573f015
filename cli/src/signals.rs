//! Ctrl-C and SIGTERM end a run within a second, with nothing left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mapreduce_worker::error::{Error, Result};
use mapreduce_worker::job::Job;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tasks look every few milliseconds whether they should stop; one that sits in a user's function
/// does not get to it.
const PATIENCE: Duration = Duration::from_millis(700);

/// The wish to stop.
#[derive(Debug)]
pub(crate) struct Stop {
    pub token: CancellationToken,
    code: Arc<AtomicU8>,
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self { token: CancellationToken::new(), code: Arc::default() }
    }

    /// The exit code, once a signal has come.
    pub(crate) fn code(&self) -> Option<u8> {
        Some(self.code.load(Ordering::SeqCst)).filter(|code| *code > 0)
    }

    /// Listens until the runtime ends.
    pub(crate) fn listen(&self, runtime: &Runtime, job: &Job) -> Result<()> {
        let _entered = runtime.enter();
        let fail = |e: std::io::Error| Error::retry("can't listen for signals").because(e);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        let (token, code) = (self.token.clone(), Arc::clone(&self.code));
        let staging = job.staging.clone();
        runtime.spawn(async move {
            let number = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            code.store(number, Ordering::SeqCst);
            token.cancel();
            tokio::time::sleep(PATIENCE).await;
            std::thread::spawn(move || {
                let _ = staging.store.delete_prefix(&staging.key);
                leave(number)
            });
        });
        Ok(())
    }
}

#[allow(clippy::disallowed_methods, reason = "a task that does not end cannot be waited for")]
fn leave(code: u8) -> ! {
    std::process::exit(code.into())
}
