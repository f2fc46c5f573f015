//! The end of a process: waiting for it, killing what it leaves, and what its exit status means.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::{ChildProcess, TICK};
use crate::error::{Error, IoContext as _, Result};
use crate::machine::clock;

/// Reads of the standard error of a process that was killed: what wrote there may not be dead yet.
const LAST_READS: usize = 64;

impl ChildProcess {
    /// Waits for the process's end; what it says meanwhile is heard.
    pub(super) fn wait(&mut self) -> Result<ExitStatus> {
        let mut patience = Duration::from_millis(1);
        self.moved = clock::now();
        while !self.has_ended()? {
            let ready = self.ready(&[], patience)?;
            self.check_cancelled()?;
            self.check_patience()?;
            if ready.stderr {
                let mut progress = false;
                self.stderr.read(&mut progress)?;
                self.has_moved(progress);
            } else if self.stderr.pipe().is_none() {
                clock::sleep(patience);
                patience = TICK.min(patience * 2);
            }
        }
        self.reap()
    }

    /// Whether the process has ended. It stays a zombie, so that its group's number is its own.
    pub(super) fn has_ended(&self) -> Result<bool> {
        if self.reaped {
            return Ok(true);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid()?), options) {
            Ok(status) => Ok(status.is_some()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(Error::from(io::Error::from(e)).context(format!("can't wait for {}", self.name))),
        }
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(self.child.id().cast_signed())
            .ok_or_else(|| Error::permanent(format!("{} has no process id", self.name)))
    }

    /// Takes leave of a process that has ended: of what it left running too.
    pub(super) fn reap(&mut self) -> Result<ExitStatus> {
        // All it said is in the pipe by now.
        while self.stderr.read(&mut false)? {}
        self.stderr.end();
        self.kill_group();
        self.reaped = true;
        self.child.wait().context(|| format!("can't wait for {}", self.name))
    }

    fn kill_group(&self) {
        if let (false, Ok(pid)) = (self.reaped, self.pid()) {
            // An empty group is none any more.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    pub(super) fn check(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let name = &self.name;
        let (message, hint) = match (status.code(), status.signal()) {
            (Some(code), _) => (format!("{name} exited with code {code}"), self.remedies.of_exit_code(code)),
            (None, Some(signal)) => {
                let hint = self.remedies.of_exit_code(128 + signal);
                (format!("{name} was killed by signal {}", signal_name(signal)), hint)
            }
            (None, None) => (format!("{name} ended: {status}"), None),
        };
        // What kills a command is outside of it, as a machine that is out of memory.
        let error = match status.code() {
            Some(EX_DATAERR | EX_CONFIG) => Error::of_function(message).permanently(),
            Some(_) => Error::of_function(message),
            None => Error::retry(message),
        };
        let error = self.with_last_words(error);
        Err(hint.into_iter().fold(error, Error::because))
    }
}

/// What a program says, as in `sysexits.h`, whose data is wrong: it would say so of every attempt.
const EX_DATAERR: i32 = 65;
/// What one says that isn't set up as it has to be.
const EX_CONFIG: i32 = 78;

impl Drop for ChildProcess {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill_group();
            let _ = self.child.wait();
            // What it said before it failed is in the pipe.
            for _ in 0..LAST_READS {
                if !self.stderr.read(&mut false).unwrap_or(false) {
                    break;
                }
            }
            self.stderr.end();
        }
    }
}

fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return number.to_string(),
    };
    format!("{number} ({name})")
}
