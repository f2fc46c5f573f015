//! Fetches what a reduce task merges, while it merges what is there.
//!
//! ```text
//!  shuffle object of map 0   │ partition 4 │ partition 5    │        pieces: what one GET brings
//!                            └─ piece 1 ──┴─ piece 3 ┴ 5 ──┘         in the order in which partitions want them
//!  shuffle object of map 1   │ partition 4 │ partition 5 │
//!                            └─ piece 2 ───┴─ piece 4 ───┘
//!
//!  FetchAhead ── threads, as many as transfers have memory for ──> SpillStore <── merge: waits for what it reads
//! ```
//!
//! Pieces are kept as they come, in memory or in a scratch file, and decoded once: by the merge. It fetches itself
//! what it wants before its turn, so that it waits for no other thread that has not begun.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use super::index::Index;
use super::object::Extent;
use super::run::{Run, RunData};
use crate::error::Result;
use crate::machine::threads;
use crate::memory::{self, MemoryPool};
use crate::record::segment::FetchedSegment;
use crate::record::segment::Segment;
use crate::record::segments::segments_in;
use crate::record::spill_store::SpillStore;
use crate::storage::Location;

/// Bytes of one GET of a fetch, where there is memory for it.
pub const FETCH_BYTES: u64 = 16 << 20;
/// GETs of a reduce task's fetches at once.
const FETCHES: usize = 16;

/// The runs of each partition of a reduce task, in the order of the map tasks, from shuffle objects below `work`; and
/// what fetches them, unless `check` says that somebody has asked to stop.
pub fn runs(
    index: &Index,
    work: &Location,
    check: impl Fn() -> Result<()> + Clone + Send + Sync + 'static,
    spill_store: &Arc<SpillStore>,
) -> (Vec<Vec<Run>>, FetchAhead) {
    let mut runs: Vec<Vec<Run>> = index.partitions.iter().map(|_| Vec::new()).collect();
    let mut pieces = Vec::new();
    let step = memory::piece(FETCHES as u64, FETCH_BYTES);
    for (object, name) in index.names.iter().enumerate() {
        let extents: Vec<Extent> = index.partitions.iter().map(|partition| partition[object]).collect();
        let mut filled = extents.iter().filter(|extent| extent.bytes > 0);
        let Some(first) = filled.next() else { continue };
        let last = filled.next_back().unwrap_or(first);
        let place = work.join(name);
        let name: Arc<str> = Arc::from(place.url(&place.key));
        let mut segments = Vec::new();
        for (number, start) in (first.offset..last.end()).step_by(step as usize).enumerate() {
            let range = start..last.end().min(start + step);
            // The first partition that wants it.
            let partition = extents.iter().position(|extent| extent.bytes > 0 && extent.end() > start);
            let bytes = range.end - range.start;
            let (place, check) = (place.clone(), check.clone());
            let read = move || check().and_then(|()| place.store.read(&place.key, range.clone()));
            let piece = Arc::new(spill_store.fetched(bytes, read));
            pieces.push(((partition, number, object), Arc::downgrade(&piece)));
            segments.push(Segment::fetched(piece));
        }
        for (extent, runs) in extents.iter().zip(&mut runs).filter(|(extent, _)| extent.bytes > 0) {
            let bytes = extent.offset - first.offset..extent.end() - first.offset;
            let pairs = RunData::Blocks(segments_in(&segments, &bytes));
            let (records, name) = (extent.records, Arc::clone(&name));
            runs.push(Run { pairs, records, may_have_large_pairs: true, name });
        }
    }
    pieces.sort_by_key(|&(turn, _)| turn);
    let pieces = pieces.into_iter().map(|(_, piece)| piece).collect();
    (runs, FetchAhead::new(pieces, memory::transfers()))
}

/// Fetches pieces in their order, those that somebody still has.
#[derive(Debug)]
pub struct FetchAhead {
    pieces: Vec<Weak<FetchedSegment>>,
    pool: Arc<MemoryPool>,
    progress: Mutex<FetchProgress>,
    /// Something that was reserved has been given back.
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct FetchProgress {
    /// The next piece.
    next: usize,
    /// Pieces that are being fetched.
    under_way: usize,
    /// Nobody wants any more of them.
    over: bool,
}

impl FetchAhead {
    /// Of nothing.
    pub fn nothing() -> Self {
        Self::new(Vec::new(), memory::transfers())
    }

    fn new(pieces: Vec<Weak<FetchedSegment>>, pool: &Arc<MemoryPool>) -> Self {
        Self { pieces, pool: Arc::clone(pool), progress: Mutex::default(), given_back: Condvar::new() }
    }

    /// Does `work` while threads fetch what it reads.
    pub fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        threads::beside(
            self.pieces.len().min(FETCHES),
            || self.fetch(),
            || {
                let _end = End(self);
                work()
            },
        )
    }

    fn progress(&self) -> MutexGuard<'_, FetchProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches one piece after the other.
    fn fetch(&self) {
        let mut progress = self.progress();
        while !progress.over {
            let Some(piece) = self.pieces.get(progress.next) else { return };
            let Some(piece) = piece.upgrade() else {
                progress.next += 1;
                continue;
            };
            // One in any case, more where there is memory for them.
            let reservation = self.pool.reserve(piece.len() as usize);
            if reservation.is_none() && progress.under_way > 0 {
                drop(piece);
                progress = self.given_back.wait(progress).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            progress.next += 1;
            progress.under_way += 1;
            drop(progress);
            let under_way = UnderWay(self);
            if !piece.fetch_ahead() {
                // Who reads the piece fails by that.
                self.progress().over = true;
            }
            drop((reservation, piece));
            drop(under_way);
            progress = self.progress();
        }
    }
}

/// A piece is being fetched until this is dropped.
struct UnderWay<'a>(&'a FetchAhead);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.progress().under_way -= 1;
        self.0.given_back.notify_all();
    }
}

/// Nobody wants a piece any more when this is dropped.
struct End<'a>(&'a FetchAhead);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.progress().over = true;
        self.0.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;

    use super::FetchAhead;
    use crate::error::{Error, Result};
    use crate::memory::MemoryPool;
    use crate::record::block::BlockCodec;
    use crate::record::segment::FetchedSegment;
    use crate::record::spill_store::SpillStore;

    const BYTES: usize = 100;

    fn piece(read: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static) -> Arc<FetchedSegment> {
        let spill_store = SpillStore::new(1 << 20, std::env::temp_dir(), BlockCodec::None);
        Arc::new(spill_store.fetched(BYTES as u64, read))
    }

    fn ahead(pieces: &[Arc<FetchedSegment>], memory: usize) -> FetchAhead {
        FetchAhead::new(pieces.iter().map(Arc::downgrade).collect(), &MemoryPool::new(memory as u64))
    }

    #[test]
    fn what_is_there_is_read_while_the_rest_is_fetched() {
        let (read, first_was_read) = mpsc::channel();
        let first_was_read = Mutex::new(first_was_read);
        let second = move || {
            let waited = first_was_read.lock().unwrap().recv_timeout(Duration::from_mins(1));
            waited
                .map(|()| vec![2; BYTES])
                .map_err(|_| Error::permanent("the first is read after the second"))
        };
        let pieces = [piece(|| Ok(vec![1; BYTES])), piece(second)];
        let done = ahead(&pieces, 10 * BYTES).during(|| {
            pieces[0].fetch()?;
            read.send(()).unwrap();
            pieces[1].fetch().map(drop)
        });
        done.unwrap();
    }

    #[test]
    fn no_more_is_fetched_at_once_than_there_is_memory_for() {
        for at_once in [0, 1, 3] {
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (done, all_done) = mpsc::channel();
            let pieces: Vec<_> = (0..40)
                .map(|_| {
                    let (now, most, done) = (Arc::clone(&now), Arc::clone(&most), done.clone());
                    piece(move || {
                        most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        (0..100).for_each(|_| std::thread::yield_now());
                        now.fetch_sub(1, Ordering::Relaxed);
                        done.send(()).unwrap();
                        Ok(vec![0; BYTES])
                    })
                })
                .collect();
            ahead(&pieces, at_once * BYTES).during(|| (0..40).for_each(|_| all_done.recv().unwrap()));
            assert!(most.load(Ordering::Relaxed) <= at_once.max(1), "{most:?} of {at_once}");
        }
    }

    #[test]
    fn a_fetch_that_failed_ahead_fails_who_reads_and_nobody_waits_for_one_that_panicked() {
        for panics in [false, true] {
            let (begun, failed) = mpsc::channel();
            let calls = AtomicUsize::new(0);
            let pieces = [piece(move || {
                if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                    begun.send(()).unwrap();
                    assert!(!panics);
                    return Err(Error::retry("no"));
                }
                Ok(vec![0; BYTES])
            })];
            let fetched = ahead(&pieces, 10 * BYTES).during(|| {
                failed.recv().unwrap();
                pieces[0].fetch().map(drop)
            });
            let error = fetched.err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), if panics { None } else { Some("no") });
        }
    }

    #[test]
    fn what_nobody_reads_any_more_is_not_fetched() {
        let fetched = Arc::new(AtomicUsize::new(0));
        let pieces: [_; 2] = std::array::from_fn(|_| {
            let fetched = Arc::clone(&fetched);
            piece(move || {
                fetched.fetch_add(1, Ordering::Relaxed);
                Ok(vec![0; BYTES])
            })
        });
        let ahead = ahead(&pieces, 10 * BYTES);
        let [first, second] = pieces;
        drop(first);
        ahead.during(|| second.fetch().map(drop)).unwrap();
        assert_eq!((fetched.load(Ordering::Relaxed), ahead.progress().under_way), (1, 0));
    }
}
