//! Pairs kept in memory, to be sorted by partition and key.
//!
//! ```text
//!  arena    klen vlen key value │ klen vlen key value │ …        each pair is copied here once
//!  entries  first 8 bytes of the key, place in the arena, partition
//! ```
//!
//! Only the 16-byte entries are sorted (see [`radix`](super::radix)). Both vectors are reserved at once, as
//! large as each could be alone: memory that is not touched is not taken, and what is touched is never
//! copied to a larger place, so that the buffer takes its limit and no more.

use std::cmp::Ordering;

use super::block::{Span, put_varint, record_at};
use super::merge::Pairs;
use super::radix::{self, Entry, Keys, prefix};
use crate::error::Result;

/// Unsorted pairs of all partitions.
#[derive(Debug)]
pub struct SortBuffer {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Pairs of each partition.
    counts: Vec<u32>,
    limit: usize,
}

/// Entries address this much.
const MAX_ARENA: usize = u32::MAX as usize;
/// No pair takes less than its entry and two lengths.
const LEAST_PAIR: usize = size_of::<Entry>() + 2;

impl SortBuffer {
    /// A buffer that wants to be emptied when it holds about `limit` bytes.
    pub fn new(partitions: u32, limit: usize) -> Self {
        let limit = limit.min(MAX_ARENA / 2);
        Self {
            arena: Vec::with_capacity(limit),
            entries: Vec::with_capacity(limit / LEAST_PAIR + 1),
            counts: vec![0; partitions as usize],
            limit,
        }
    }

    /// Adds a pair. Says whether the buffer is full.
    #[inline]
    pub fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> bool {
        let at = self.arena.len() as u32;
        put_varint(&mut self.arena, key.len());
        put_varint(&mut self.arena, value.len());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        self.entries.push(Entry { prefix: prefix(key), at, partition });
        self.counts[partition as usize] += 1;
        self.is_full()
    }

    /// Whether the buffer holds as much as it should.
    pub fn is_full(&self) -> bool {
        self.arena.len() + self.entries.len() * size_of::<Entry>() >= self.limit
    }

    /// Whether another pair of this size goes in beside those that are there.
    pub fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        let arena = self.arena.len() + key.len() + value.len() + 20;
        arena < if self.is_empty() { MAX_ARENA } else { self.arena.capacity() }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Calls `each` with the sorted pairs of each partition, and empties the buffer; its memory stays. Equal
    /// keys are in the order of their values, or stay in the order in which they were added.
    pub fn drain(
        &mut self,
        values_sorted: bool,
        mut each: impl FnMut(u32, Sorted<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self { arena, entries, counts, .. } = self;
        radix::by_partition(entries, counts);
        let mut rest = &mut entries[..];
        for (partition, count) in counts.iter_mut().enumerate() {
            let (entries, others) = rest.split_at_mut(std::mem::take(count) as usize);
            rest = others;
            radix::sort(entries, &Arena { bytes: arena, values_sorted });
            each(partition as u32, Sorted { arena, entries, next: 0, span: Span::default() })?;
        }
        self.arena.clear();
        self.entries.clear();
        Ok(())
    }
}

struct Arena<'a> {
    bytes: &'a [u8],
    values_sorted: bool,
}

impl Arena<'_> {
    #[inline]
    fn pair(&self, at: u32) -> (&[u8], &[u8]) {
        let span = record_at(self.bytes, at as usize).unwrap_or_default();
        (&self.bytes[span.key..span.value], &self.bytes[span.value..span.end])
    }
}

impl Keys for Arena<'_> {
    #[inline]
    fn key(&self, at: u32) -> &[u8] {
        self.pair(at).0
    }

    fn tie(&self, a: u32, b: u32) -> Ordering {
        if self.values_sorted { self.pair(a).1.cmp(self.pair(b).1) } else { Ordering::Equal }
    }
}

/// Sorted pairs of one partition of a [`SortBuffer`].
#[derive(Debug)]
pub struct Sorted<'a> {
    arena: &'a [u8],
    entries: &'a [Entry],
    next: usize,
    span: Span,
}

impl Pairs for Sorted<'_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        let Some(entry) = self.entries.get(self.next) else { return Ok(false) };
        self.next += 1;
        self.span = record_at(self.arena, entry.at as usize)?;
        Ok(true)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        &self.arena[self.span.key..self.span.value]
    }

    #[inline]
    fn value(&self) -> &[u8] {
        &self.arena[self.span.value..self.span.end]
    }
}

#[cfg(test)]
mod tests {
    use super::{Pairs as _, SortBuffer};

    #[test]
    fn pairs_come_out_by_partition_and_key_and_equal_keys_as_they_came() {
        let mut buffer = SortBuffer::new(2, 1 << 20);
        for (i, key) in ["b", "a", "b", "abcdefghij", "abcdefghia", "", "b\0", "a"].iter().enumerate() {
            buffer.push((i % 2) as u32, key.as_bytes(), i.to_string().as_bytes());
        }
        let mut found = Vec::new();
        let drained = buffer.drain(false, |partition, mut sorted| {
            while sorted.advance()? {
                let key = String::from_utf8_lossy(sorted.key()).into_owned();
                found.push((partition, key, sorted.value()[0] - b'0'));
            }
            Ok(())
        });
        drained.unwrap();
        assert!(buffer.is_empty());
        let expected = [
            (0, "abcdefghia", 4),
            (0, "b", 0),
            (0, "b", 2),
            (0, "b\0", 6),
            (1, "", 5),
            (1, "a", 1),
            (1, "a", 7),
            (1, "abcdefghij", 3),
        ];
        assert_eq!(found, expected.map(|(p, key, i)| (p, key.to_owned(), i)));
    }

    #[test]
    fn a_full_buffer_says_so() {
        let mut buffer = SortBuffer::new(1, 100);
        assert!(!buffer.push(0, b"key", b"value"));
        assert!(buffer.push(0, &[0; 60], b""));
        buffer.drain(false, |_, _| Ok(())).unwrap();
        assert!(buffer.is_empty() && !buffer.is_full());
    }
}
