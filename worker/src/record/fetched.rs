//! What is fetched from a store once: when somebody reads it, or before.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::error::{Error, Result};

/// What one request fetches, once.
pub struct FetchedPiece<T> {
    bytes: u64,
    fetch: Box<dyn Fn() -> Result<T> + Send + Sync>,
    kept: OnceLock<T>,
    /// Held by who fetches: the others wait. Why it could not be fetched ahead, until somebody has been told.
    failed: Mutex<Option<Error>>,
}

impl<T: fmt::Debug> fmt::Debug for FetchedPiece<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedPiece")
            .field("bytes", &self.bytes)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

impl<T> FetchedPiece<T> {
    /// A piece of so many bytes, which `fetch` fetches and keeps.
    pub fn new(bytes: u64, fetch: impl Fn() -> Result<T> + Send + Sync + 'static) -> Self {
        Self { bytes, fetch: Box::new(fetch), kept: OnceLock::new(), failed: Mutex::default() }
    }

    /// Number of its bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Fetches it, unless that has been done.
    pub fn fetch(&self) -> Result<&T> {
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        // A store that is away has been waited for.
        failed.take().map_or(Ok(()), Err)?;
        self.fetch_alone()
    }

    /// Fetches it for somebody who will read it, and gets the error where that fails. Says whether it is there.
    pub fn fetch_ahead(&self) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() {
            *failed = self.fetch_alone().err();
        }
        failed.is_none()
    }

    fn fetch_alone(&self) -> Result<&T> {
        if let Some(kept) = self.kept.get() {
            return Ok(kept);
        }
        let kept = (self.fetch)()?;
        Ok(self.kept.get_or_init(|| kept))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use crate::error::Error;
    use crate::record::block::BlockCodec;
    use crate::record::segment::Segment;
    use crate::record::spill_store::SpillStore;

    /// A piece whose first read does something else, and the reads so far.
    fn piece(first: fn() -> crate::error::Result<Vec<u8>>, memory: u64) -> (Segment, Arc<AtomicU32>) {
        let spill_store = SpillStore::new(memory, std::env::temp_dir(), BlockCodec::None);
        let reads = Arc::new(AtomicU32::new(0));
        let read = {
            let reads = Arc::clone(&reads);
            move || match reads.fetch_add(1, Ordering::Relaxed) {
                0 => first(),
                _ => Ok(b"0123456789".to_vec()),
            }
        };
        (Segment::fetched(Arc::new(spill_store.fetched(10, read))), reads)
    }

    #[test]
    fn a_piece_is_fetched_once_by_whoever_reads_it_first() {
        for memory in [0, 1000] {
            let (segment, reads) = piece(|| Ok(b"0123456789".to_vec()), memory);
            let slice = segment.slice(2..8);
            assert_eq!((slice.len(), reads.load(Ordering::Relaxed)), (6, 0), "nobody has read it yet");
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut read = [0; 3];
                        slice.apart().read_at(&mut read, 1).unwrap();
                        assert_eq!(&read, b"345");
                    });
                }
            });
            let mut kept = slice.clone();
            kept.fetch().unwrap();
            assert_eq!(kept.in_memory(), (memory > 0).then_some(&b"234567"[..]));
            assert_eq!(reads.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn who_comes_after_a_fetch_that_failed_tries_it_again() {
        for first in [|| Err(Error::retry("no")), || Ok(b"01234".to_vec()), || panic!("no")] {
            let (segment, reads) = piece(first, 1000);
            let failed = std::thread::scope(|scope| scope.spawn(|| segment.read_at(&mut [0], 0)).join());
            assert!(!matches!(failed, Ok(Ok(()))));
            let mut read = [0; 2];
            segment.read_at(&mut read, 4).unwrap();
            assert_eq!((&read, reads.load(Ordering::Relaxed)), (b"45", 2));
        }
    }

    #[test]
    fn who_reads_is_told_once_why_it_could_not_be_fetched_ahead() {
        let (segment, reads) = piece(|| Err(Error::retry("the store is away")), 1000);
        let Segment::Fetched { piece, .. } = &segment else { panic!("{segment:?}") };
        assert!(!piece.fetch_ahead() && !piece.fetch_ahead());
        assert_eq!(piece.fetch().unwrap_err().to_string(), "the store is away");
        assert_eq!(reads.load(Ordering::Relaxed), 1, "nobody has asked again");
        assert!(piece.fetch_ahead() && piece.fetch().is_ok());
    }
}
