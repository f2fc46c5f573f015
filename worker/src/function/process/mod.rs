//! A user's program that runs beside a task.
//!
//! ```text
//!            ┌──────────── task's thread ────────────┐
//!  records ──┤ write ──> stdin ▸ PROCESS ▸ stdout ──> take ├──> Collector or part
//!            │                    └─ stderr ──> counters, our stderr        │
//!            └──────── one poll(2) over the three pipes ────────┘
//! ```
//!
//! The task's own thread does all of it: while it has something to write, it reads whatever comes
//! out. So a process that ignores its input, floods an output or stops in the middle can't make
//! both wait for each other, and what it emits goes to the collector without a queue between.
//!
//! A process leads a group of its own, and the whole group is killed when the task is cancelled,
//! when it fails, when nothing moved for the task's timeout, and when the process has ended.

mod end;
mod environment;
mod folder;
mod remedies;
mod start;
mod stderr;

use std::io::{self, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::folder::Folder;
pub(crate) use self::folder::{check_names, remove_of_dead};
pub(super) use self::remedies::{ProgramKind, Remedies};
pub(super) use self::start::Program;
use self::stderr::Stderr;
use super::context::TaskContext;
use crate::error::{Error, IoContext as _, Result};
use crate::machine::clock;

/// What is done with a process's output.
pub(super) trait Take {
    /// Takes what it can of the bytes, from the first on, and says how many. The first `seen` of them were
    /// there the last time and were left. At the end there will be no more of them.
    fn take(&mut self, bytes: &[u8], seen: usize, end: bool) -> Result<usize>;

    /// Whether there is what [`ChildProcess::read_until`] waits for.
    fn is_done(&self) -> bool {
        false
    }
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct ChildProcess {
    name: String,
    remedies: Remedies,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Stderr,
    /// Output that was not taken yet: `buffer[..filled]`.
    buffer: Vec<u8>,
    filled: usize,
    /// When something moved last.
    moved: Instant,
    context: TaskContext,
    reaped: bool,
    _folder: Folder,
}

/// Bytes of output that are read at once.
const BLOCK_BYTES: usize = 256 << 10;
/// A longer line or message of a process is its fault.
const MAX_BYTES: usize = 1 << 30;
/// How often a wait looks whether the task is cancelled.
const TICK: Duration = Duration::from_millis(50);

impl ChildProcess {
    /// Writes bytes to the process, and has what comes out meanwhile taken. A process that reads no
    /// more of its input has not failed.
    pub(super) fn write(&mut self, mut bytes: &[u8], take: &mut dyn Take) -> Result<()> {
        // The process is not to blame for what we did since the last call.
        self.moved = clock::now();
        while !bytes.is_empty() && self.stdin.is_some() {
            let written = self.step(bytes, take)?;
            bytes = &bytes[written..];
        }
        if self.stdin.is_none() {
            self.look(take)?;
        }
        Ok(())
    }

    /// Takes output until that is done, or until there is no more.
    pub(super) fn read_until(&mut self, take: &mut dyn Take) -> Result<()> {
        self.moved = clock::now();
        while !take.is_done() && self.stdout.is_some() {
            self.step(&[], take)?;
        }
        Ok(())
    }

    /// Ends the input, and has the rest of the output taken. An exit code other than 0 is an error.
    pub(super) fn end(&mut self, take: &mut dyn Take) -> Result<()> {
        self.stdin = None;
        self.moved = clock::now();
        while self.stdout.is_some() {
            self.step(&[], take)?;
        }
        let taken = take.take(&self.buffer[..self.filled], self.filled, true)?;
        self.keep_behind(taken);
        let status = self.wait()?;
        self.check(status)
    }

    /// The input is not wanted any more: whether that is because the process has failed.
    fn look(&mut self, take: &mut dyn Take) -> Result<()> {
        while self.stdout.is_some() && self.ready(&[], Duration::ZERO)?.stdout {
            self.read_output(take)?;
        }
        self.check_cancelled()?;
        if self.has_ended()? {
            let status = self.reap()?;
            if !status.success() {
                return self.check(status);
            }
        }
        Ok(())
    }

    /// Waits until something can be read or some of `input` can be written, and does it. Says how
    /// much was written.
    fn step(&mut self, input: &[u8], take: &mut dyn Take) -> Result<usize> {
        let ready = self.ready(input, TICK)?;
        self.check_cancelled()?;
        if ready == Ready::default() {
            self.check_patience()?;
        }
        if ready.stderr {
            let mut progress = false;
            self.stderr.read(&mut progress).context(|| format!("can't read stderr of {}", self.name))?;
            self.has_moved(progress);
        }
        if ready.stdout {
            self.read_output(take)?;
        }
        if ready.stdin { self.write_input(input) } else { Ok(0) }
    }

    fn write_input(&mut self, input: &[u8]) -> Result<usize> {
        let Some(stdin) = &mut self.stdin else { return Ok(0) };
        match stdin.write(input) {
            Ok(written) => {
                self.has_moved(written > 0);
                Ok(written)
            }
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                self.stdin = None;
                Ok(0)
            }
            Err(e) if waits(&e) => Ok(0),
            Err(e) => Err(Error::from(e).context(format!("can't write to {}", self.name))),
        }
    }

    fn read_output(&mut self, take: &mut dyn Take) -> Result<()> {
        let Some(stdout) = &mut self.stdout else { return Ok(()) };
        if self.filled == self.buffer.len() {
            if self.filled >= MAX_BYTES {
                return Err(Error::permanent(format!(
                    "{} wrote a line or a batch of more than 1 GiB",
                    self.name
                )));
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        match stdout.read(&mut self.buffer[self.filled..]) {
            Ok(0) => self.stdout = None,
            Ok(read) => {
                let seen = self.filled;
                self.filled += read;
                let taken = take.take(&self.buffer[..self.filled], seen, false)?;
                self.keep_behind(taken);
                // After the taking: the process is not to blame for the sorting and spilling of what it took.
                self.has_moved(true);
            }
            Err(e) if waits(&e) => {}
            Err(e) => return Err(Error::from(e).context(format!("can't read from {}", self.name))),
        }
        Ok(())
    }

    fn keep_behind(&mut self, taken: usize) {
        if taken == 0 {
            return;
        }
        self.buffer.copy_within(taken..self.filled, 0);
        self.filled -= taken;
    }

    fn has_moved(&mut self, moved: bool) {
        if moved {
            self.moved = clock::now();
        }
    }

    /// Which pipes can be used, after waiting for one of them.
    fn ready(&self, input: &[u8], patience: Duration) -> Result<Ready> {
        let stdin = self.stdin.as_ref().filter(|_| !input.is_empty());
        let mut fds = Vec::with_capacity(3);
        fds.extend(stdin.map(|fd| PollFd::new(fd, PollFlags::OUT)));
        fds.extend(self.stdout.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.stderr.pipe().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(Error::from(io::Error::from(e)).context("can't wait for a process")),
        }
        let mut fds = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = |open: bool| open && fds.next().unwrap_or(false);
        Ok(Ready {
            stdin: next(stdin.is_some()),
            stdout: next(self.stdout.is_some()),
            stderr: next(self.stderr.pipe().is_some()),
        })
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.context.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// An error when nothing has moved for too long.
    fn check_patience(&self) -> Result<()> {
        let timeout = self.context.timeout;
        if clock::now().duration_since(self.moved) <= timeout {
            return Ok(());
        }
        let message = format!("{} made no progress for {} s and was killed", self.name, timeout.as_secs());
        let error = self.with_last_words(Error::retry(message));
        // Its output may still come from there: to go on without would lose it.
        let hint = if self.has_ended()? {
            "it has ended, but something that it started in the background keeps its standard output open: \
             wait for that, or send its output elsewhere"
        } else {
            self.remedies.of_a_timeout()
        };
        Err(error.because(hint))
    }

    /// The error with the last that the process said as a cause.
    pub(super) fn with_last_words(&self, error: Error) -> Error {
        match self.stderr.last_words() {
            Some(words) => error.because(words),
            None => error,
        }
    }
}

/// Pipes that can be used now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ready {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
