//! Ctrl-C, SIGTERM, the job's deadline and a function that can't be stopped end a run within a second, with
//! nothing left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mapreduce_worker::error::{Error, ErrorKind, Result};
use mapreduce_worker::function::LastResort;
use mapreduce_worker::job::Job;
use mapreduce_worker::job::folders::NewFolders;
use mapreduce_worker::task::finish;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::failure;

/// Tasks look every few milliseconds whether they should stop; one that sits in a user's function
/// does not get to it.
const PATIENCE: Duration = Duration::from_millis(700);

/// The wish to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    pub token: CancellationToken,
    why: Arc<OnceLock<Why>>,
    /// There is a function that can't be stopped.
    stuck: Arc<Notify>,
    /// Whether the run has ended, or is being ended while tasks still run.
    ended: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
enum Why {
    /// A signal, with the exit code for it.
    Signal(u8),
    /// `activeDeadlineSeconds`.
    Deadline(u64),
    /// A function that can't be stopped.
    Stuck(Error),
}

impl Stop {
    /// Listens until the runtime ends.
    pub(crate) fn listen(&self, runtime: &Runtime, job: &Job, json: bool) -> Result<()> {
        let _entered = runtime.enter();
        let fail = |e: std::io::Error| Error::retry("can't listen for signals").because(e);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        let limit = job.spec().active_deadline_seconds.map(i64::unsigned_abs);
        let deadline = async move {
            match limit {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let (stop, publication) = (self.clone(), job.alone().publication().uninterrupted());
        let new = NewFolders::of(&[&publication.output, &publication.folder]);
        runtime.spawn(async move {
            let why = tokio::select! {
                _ = interrupt.recv() => Some(Why::Signal(130)),
                _ = terminate.recv() => Some(Why::Signal(143)),
                () = deadline => limit.map(Why::Deadline),
                () = stop.stuck.notified() => None,
            };
            if let Some(why) = why {
                let _ = stop.why.set(why);
            }
            stop.token.cancel();
            tokio::time::sleep(PATIENCE).await;
            std::thread::spawn(move || {
                if stop.ended.swap(true, Ordering::SeqCst) {
                    return;
                }
                // A run that has succeeded meanwhile, or is about to, ends by itself.
                if !finish::stop(&publication) {
                    stop.ended.store(false, Ordering::SeqCst);
                    return;
                }
                new.remove();
                let error = stop.explain(Error::cancelled());
                failure::show(json, &error);
                leave(stop.code(&error))
            });
        });
        Ok(())
    }

    /// Ends the run because of a function that can't be stopped.
    pub(crate) fn last_resort(&self) -> LastResort {
        let (why, stuck) = (Arc::clone(&self.why), Arc::clone(&self.stuck));
        LastResort::new(move |error| {
            let _ = why.set(Why::Stuck(error));
            stuck.notify_one();
        })
    }

    /// Says that the run has ended. Does not return where it is being ended already.
    pub(crate) fn end(&self) {
        while self.ended.swap(true, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Why a run that was stopped has failed.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.why.get() {
            Some(Why::Deadline(seconds)) if error.kind() == ErrorKind::Cancelled => Error::permanent(
                format!("the job has been active for {seconds} s (spec.activeDeadlineSeconds: {seconds})"),
            ),
            Some(Why::Stuck(stuck)) if error.kind() == ErrorKind::Cancelled => stuck.clone(),
            _ => error,
        }
    }

    /// The exit code of a failure.
    pub(crate) fn code(&self, error: &Error) -> u8 {
        match self.why.get() {
            Some(Why::Signal(code)) if error.kind() == ErrorKind::Cancelled => *code,
            _ => failure::code(error),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a task that does not end cannot be waited for")]
fn leave(code: u8) -> ! {
    std::process::exit(code.into())
}
