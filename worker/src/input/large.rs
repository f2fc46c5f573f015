//! Buffers for large records.

use crate::memory::{LARGE_RECORD, LargeRecord, large_record};

/// More is not reserved at once.
const MAX_RESERVED: usize = 256 << 20;
/// Bytes of a buffer beside the longest record.
const BESIDE: usize = 512 << 10;

/// Makes room in a buffer that is full of a record of `most` bytes at most; `large` is what a large one is accounted by.
/// Room for the longest record is reserved at once, which takes no memory before it is filled, and nothing is copied when
/// it grows.
pub(super) fn grow(buffer: &mut Vec<u8>, large: &mut Option<LargeRecord>, most: u64) {
    let bytes = buffer.len();
    if bytes < LARGE_RECORD {
        return buffer.resize(bytes * 2, 0);
    }
    large.get_or_insert_with(large_record);
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(MAX_RESERVED);
    buffer.reserve_exact(most.saturating_add(BESIDE).saturating_sub(bytes).max(bytes / 4));
    buffer.resize(bytes + (bytes / 4).min(LARGE_RECORD), 0);
}

/// A buffer without what a large record has taken.
pub(super) fn without_large(buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > LARGE_RECORD { Vec::new() } else { buffer }
}
