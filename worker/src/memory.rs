//! How the memory of a process is shared out. All shares are computed here.
//!
//! ```text
//!  --memory: bounds the process                       a pod's limit: 6/10 of it, the rest is for functions' processes
//!  ├─ PROGRAM   code, runtime, connections, stacks
//!  └─ buffers   [`Resources`]
//!      ├─ 1/2   tasks, as many at once as have TASK each
//!      │          map:     pairs that are collected, until they are sorted
//!      │          reduce:  blocks of runs that are merged
//!      ├─ 1/4   runs and pairs between steps, until they go to scratch files     (SpillStore)
//!      │        1/16 of it each: a piece of a run, or the values of a key, that a task has not kept yet
//!      └─ 1/4   transfers: pieces that are fetched, read ahead, uploaded         ([`transfers`])
//!                 large records, at most one for each 64 MiB of it               ([`large_record`])
//!                 codecs that take much: up to half as much again                ([`codec`])
//!  a text of which a library or a function has several copies: all of it, of one task at once   ([`check_copies`])
//! ```
//!
//! A share is a [`MemoryPool`]. What can't be reserved is spilled, or done with less at once, or waited for:
//! only who holds nothing else waits, so that nobody waits for himself.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};

use crate::error::{Error, Result};

/// The least that `--memory` bounds a process to.
pub const MIN_MEMORY: u64 = 64 << 20;
/// What a process takes that has nothing to do.
const PROGRAM: u64 = 24 << 20;
/// What a task takes at least: a few blocks of runs, or what is worth sorting, and what it reads and writes.
const TASK: u64 = 10 << 20;
/// A record of more than this is large: few are in memory at once.
pub const LARGE_RECORD: usize = 1 << 20;
/// Transfers for which there may be a large record more.
const PER_LARGE_RECORD: u64 = 64 << 20;
/// Transfers where nobody has said how much memory there is.
const DEFAULT_TRANSFERS: u64 = 2 << 30;

/// Memory and processors for the tasks of one process.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Bytes that buffers may take, all tasks together.
    pub memory: u64,
    /// Tasks at once.
    pub threads: usize,
    /// Where scratch files go.
    pub scratch: std::path::PathBuf,
}

impl Resources {
    /// What each of so many tasks at once has.
    #[must_use]
    pub fn shared_by(&self, tasks: usize) -> Self {
        Self { memory: self.memory / tasks.max(1) as u64, threads: 1, scratch: self.scratch.clone() }
    }
}

/// The bytes for buffers, and the tasks at once, of a process that may take so many bytes and processors.
/// From here on its transfers are bounded.
///
/// # Errors
///
/// A usage error for less than a process can do with.
pub fn bound_process(memory: u64, threads: usize) -> Result<(u64, usize)> {
    if memory < MIN_MEMORY {
        return Err(Error::usage(format!(
            "--memory: {} MiB are too little to run in: give it {}Mi or more",
            memory >> 20,
            MIN_MEMORY >> 20
        )));
    }
    let buffers = memory - PROGRAM;
    Ok((buffers, bound(buffers, threads)))
}

/// Bounds the transfers of a process with so many bytes for buffers; its tasks at once.
pub fn bound(buffers: u64, threads: usize) -> usize {
    TRANSFERS.resize(buffers / 4);
    threads.min(usize::try_from(buffers / TASK).unwrap_or(usize::MAX)).max(1)
}

/// What each of so many map tasks at once collects.
pub fn collect(buffers: u64, tasks: usize) -> usize {
    usize::try_from(buffers / 2 / tasks.max(1) as u64).unwrap_or(usize::MAX)
}

/// What each of so many reduce tasks at once has for blocks of runs.
pub fn merge(buffers: u64, tasks: usize) -> u64 {
    buffers / 2 / tasks.max(1) as u64
}

/// What runs, and pairs between steps, may take.
pub fn kept(buffers: u64) -> u64 {
    buffers / 4
}

/// What a task has to collect a piece of a run, or the values of a key.
pub fn part_of_kept(kept: u64) -> usize {
    usize::try_from(kept / 16).unwrap_or(usize::MAX).min(MAX_PART)
}

/// More gains nothing.
const MAX_PART: usize = 16 << 20;

/// Memory that is reserved piece by piece.
#[derive(Debug)]
pub struct MemoryPool {
    total: AtomicU64,
    left: AtomicI64,
}

impl MemoryPool {
    /// A pool of so many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { total: AtomicU64::new(bytes), left: AtomicI64::new(signed(bytes)) })
    }

    /// The bytes, reserved or not.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes that are not reserved.
    pub fn left(&self) -> u64 {
        u64::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Reserves memory, if there is as much.
    pub fn reserve(self: &Arc<Self>, bytes: usize) -> Option<MemoryReservation> {
        let left = self.left.fetch_sub(bytes as i64, Ordering::Relaxed);
        // What could not be had is given back by the drop.
        let reservation = MemoryReservation { bytes: bytes as i64, pool: Arc::clone(self) };
        (left >= bytes as i64).then_some(reservation)
    }

    /// Reserves memory of which one holder is to have no more than half.
    pub fn reserve_part(self: &Arc<Self>, bytes: u64) -> Option<MemoryReservation> {
        let bytes = usize::try_from(bytes).ok()?;
        if bytes as u64 > self.total() / 2 { None } else { self.reserve(bytes) }
    }

    fn resize(&self, bytes: u64) {
        let before = self.total.swap(bytes, Ordering::Relaxed);
        self.left.fetch_add(signed(bytes) - signed(before), Ordering::Relaxed);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 2)
}

/// Memory that was taken from a pool; it is given back when this is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    bytes: i64,
    pool: Arc<MemoryPool>,
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.pool.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

static TRANSFERS: LazyLock<Arc<MemoryPool>> = LazyLock::new(|| MemoryPool::new(DEFAULT_TRANSFERS));

/// What this process has for pieces on their way from and to stores. A stream always has one of them, whatever is
/// left.
pub fn transfers() -> &'static Arc<MemoryPool> {
    &TRANSFERS
}

/// The most bytes of one of `at_once` pieces: a whole number of MiB, and no more than `most`.
pub fn piece(at_once: u64, most: u64) -> u64 {
    (TRANSFERS.total() / at_once / PIECE_STEP * PIECE_STEP).clamp(PIECE_STEP, most.max(PIECE_STEP))
}

const PIECE_STEP: u64 = 1 << 20;

static LARGE: Mutex<u64> = Mutex::new(0);
static LARGE_GOES: Condvar = Condvar::new();
thread_local! {
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// The right of a thread to have a large record in memory.
#[derive(Debug)]
pub struct LargeRecord {
    /// It is its thread's.
    _not_sent: std::marker::PhantomData<*const ()>,
}

/// Waits until this thread may have a large record in memory. A thread that already may doesn't wait.
pub fn large_record() -> LargeRecord {
    if HELD.get() == 0 {
        let most = (TRANSFERS.total() / PER_LARGE_RECORD).max(1);
        let held = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held =
            LARGE_GOES.wait_while(held, |held| *held >= most).unwrap_or_else(PoisonError::into_inner);
        *held += 1;
    }
    HELD.set(HELD.get() + 1);
    LargeRecord { _not_sent: std::marker::PhantomData }
}

/// Whether this thread has a large record, for which others may be waiting.
pub fn has_large_record() -> bool {
    HELD.get() > 0
}

impl Drop for LargeRecord {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(1));
        if HELD.get() == 0 {
            *LARGE.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            LARGE_GOES.notify_one();
        }
    }
}

static CODECS: Mutex<u64> = Mutex::new(0);
static CODEC_GOES: Condvar = Condvar::new();
thread_local! {
    static CODECS_HELD: Cell<u32> = const { Cell::new(0) };
}

/// The most bytes that codecs may have, all together, and a decoder of what it has decoded: three eighths of the
/// buffers.
pub fn most_for_codecs() -> u64 {
    TRANSFERS.total() / 2 * 3
}

/// An error where there is no memory for so many copies at once of a text that `is` to be something.
pub fn check_copies(text: &str, is: &str, bytes: u64, copies: u64) -> Result<()> {
    let most = TRANSFERS.total() * 4 / copies;
    if bytes <= most {
        return Ok(());
    }
    let needed = copies * bytes.div_ceil(1 << 20);
    Err(Error::permanent(format!(
        "{text} of {} MiB is {is}, and there is memory for one of {} MiB",
        bytes.div_ceil(1 << 20),
        most >> 20
    ))
    .because(format!(
        "give the job more memory: --memory {}Mi, or in pods a limit of {}Mi",
        needed + (PROGRAM >> 20),
        needed * 10 / 6 + 1
    )))
}

/// The memory of a codec that takes much.
#[derive(Debug)]
pub struct CodecMemory(u64);

/// Waits until there is memory for a codec: the first one always has it.
pub fn codec(bytes: u64) -> CodecMemory {
    if bytes == 0 {
        return CodecMemory(0);
    }
    let mut held = CODECS.lock().unwrap_or_else(PoisonError::into_inner);
    // Who has something that others wait for waits for nobody.
    if HELD.get() == 0 && CODECS_HELD.get() == 0 {
        let most = most_for_codecs();
        let is_too_much = |held: &mut u64| *held > 0 && *held + bytes > most;
        held = CODEC_GOES.wait_while(held, is_too_much).unwrap_or_else(PoisonError::into_inner);
    }
    *held += bytes;
    CODECS_HELD.set(CODECS_HELD.get() + 1);
    CodecMemory(bytes)
}

impl Drop for CodecMemory {
    fn drop(&mut self) {
        if self.0 > 0 {
            CODECS_HELD.set(CODECS_HELD.get().saturating_sub(1));
            *CODECS.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
            CODEC_GOES.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;

    use super::{MIN_MEMORY, MemoryPool, bound_process, codec, collect, kept, large_record, merge};

    #[test]
    fn what_is_reserved_is_given_back_and_no_more_than_all_is_reserved() {
        let pool = MemoryPool::new(100);
        let first = pool.reserve(60).unwrap();
        assert!(pool.reserve(60).is_none());
        assert_eq!(pool.left(), 40);
        drop(first);
        assert!(pool.reserve(100).is_some());
        pool.resize(30);
        assert!(pool.reserve(31).is_none() && pool.reserve(30).is_some());
    }

    #[test]
    fn shares_are_no_more_than_the_memory() {
        for (memory, threads) in [(MIN_MEMORY, 16), (MIN_MEMORY, 1), (256 << 20, 64), (1 << 40, 2)] {
            let (buffers, tasks) = bound_process(memory, threads).unwrap();
            assert!(tasks >= 1 && tasks <= threads);
            let mapping = collect(buffers, tasks) as u64 * tasks as u64;
            let reducing = merge(buffers, tasks) * tasks as u64;
            assert!(mapping.max(reducing) + kept(buffers) + buffers / 4 < memory);
        }
        assert!(bound_process(MIN_MEMORY, 1000).unwrap().1 < 10, "tasks that have too little are not begun");
    }

    #[test]
    fn too_little_memory_is_an_error_that_names_the_least() {
        let error = bound_process(MIN_MEMORY - 1, 1).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("64Mi"), "{error}");
    }

    #[test]
    fn a_thread_that_has_a_codec_or_a_large_record_never_waits_for_another() {
        let more_than_there_is = 1 << 50;
        let (first, second) = (codec(more_than_there_is), codec(more_than_there_is));
        drop((first, second));
        let large = large_record();
        let first = std::thread::scope(|scope| scope.spawn(|| codec(more_than_there_is)).join().unwrap());
        let second = codec(more_than_there_is);
        drop((first, second, large));
    }

    #[test]
    fn a_thread_that_has_a_large_record_may_have_another() {
        let (first, second) = (large_record(), large_record());
        drop(first);
        drop(second);
        drop(large_record());
    }
}
