//! Threads.
#![allow(clippy::disallowed_methods, reason = "this is what is called instead")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::{random, simulated};
use crate::error::{Error, Result};

/// Does pieces of work at once, each in a thread of its own. The results are in the order of the pieces; an
/// error for one that has panicked.
///
/// On a machine that a test has made up they are done one after the other, in any order.
pub fn each<R: Send>(pieces: usize, work: impl Fn(usize) -> R + Sync) -> Vec<thread::Result<R>> {
    if simulated().is_some() {
        return in_any_order(pieces, work);
    }
    if pieces == 1 {
        return vec![catch_unwind(AssertUnwindSafe(|| work(0)))];
    }
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..pieces).map(|piece| scope.spawn(move || work(piece))).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    })
}

/// A test that ends a process in the middle of a piece does so by a panic, which ends all of them.
fn in_any_order<R>(pieces: usize, work: impl Fn(usize) -> R) -> Vec<thread::Result<R>> {
    let mut left: Vec<usize> = (0..pieces).collect();
    let mut done: Vec<(usize, R)> = Vec::with_capacity(pieces);
    while !left.is_empty() {
        let piece = match left.len() {
            1 => 0,
            more => random::below(more as u32) as usize,
        };
        let piece = left.swap_remove(piece);
        done.push((piece, work(piece)));
    }
    done.sort_by_key(|(piece, _)| *piece);
    done.into_iter().map(|(_, result)| Ok(result)).collect()
}

/// Does `work` in this thread, with others at its side: a panic of theirs is theirs alone. They have to end when
/// `work` does, also by a panic.
///
/// On a machine that a test has made up the others come before it, or not at all.
pub fn beside<R>(others: usize, aside: impl Fn() + Sync, work: impl FnOnce() -> R) -> R {
    if simulated().is_some() {
        if others > 0 && random::below(2) == 0 {
            aside();
        }
        return work();
    }
    thread::scope(|scope| {
        let aside = &aside;
        for _ in 0..others {
            scope.spawn(move || caught(aside));
        }
        work()
    })
}

/// What `work` gives; an error where it has panicked.
///
/// On a machine that a test has made up a panic is the end of the process, which nobody outlives.
pub fn caught<R>(work: impl FnOnce() -> R) -> thread::Result<R> {
    if simulated().is_some() { Ok(work()) } else { catch_unwind(AssertUnwindSafe(work)) }
}

/// Calls `work` with each item, many at once: most of its time it waits for a store. The results are in the
/// order of the items.
pub fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    const AT_ONCE: usize = 16;
    let share = items.len().div_ceil(AT_ONCE).max(1);
    let shares: Vec<&[T]> = items.chunks(share).collect();
    let done = each(shares.len(), |i| shares[i].iter().map(&work).collect::<Result<Vec<R>>>());
    let panicked = |_| Err(Error::retry("a thread has panicked"));
    let done: Result<Vec<Vec<R>>> = done.into_iter().map(|done| done.unwrap_or_else(panicked)).collect();
    Ok(done?.into_iter().flatten().collect())
}

/// Begins a thread that nobody waits for.
pub fn detach(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}
