//! How many requests were made of an object store, of the kinds that are paid for.

use std::sync::atomic::{AtomicU64, Ordering};

/// Requests since somebody last took their numbers.
#[derive(Debug, Default)]
pub struct RequestCounter {
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Numbers of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// GET and HEAD.
    pub reads: u64,
    /// PUT, POST and LIST.
    pub writes: u64,
}

impl RequestCounter {
    pub(super) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers, which begin again from nothing.
    pub fn take(&self) -> RequestCounts {
        RequestCounts {
            reads: self.reads.swap(0, Ordering::Relaxed),
            writes: self.writes.swap(0, Ordering::Relaxed),
        }
    }
}
