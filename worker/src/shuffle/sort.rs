//! Pairs kept in memory, to be sorted by partition and key.
//!
//! ```text
//!  arena    klen vlen key value │ klen vlen key value │ …        each pair is copied here once
//!  entries  first 8 bytes of the key, place in the arena, partition
//! ```
//!
//! Only the 16-byte entries are sorted (by radix). Both vectors are reserved at once, as
//! large as each could be alone: memory that is not touched is not taken, and what is touched is never
//! copied to a larger place, so that the buffer takes its limit and no more.
//!
//! Where the budget has room, the sorted buffer is the run: its pairs stay where they are until they are
//! merged. Else they are written out, and the buffer is used again.

use std::cmp::Ordering;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use super::pages;
use super::radix::{self, Keys, SortEntry, prefix};
use super::stream::PairStream;
use crate::error::Result;
use crate::memory::{LARGE_RECORD, MemoryReservation};
use crate::record::block::{Span, put_varint, record_at};

/// Unsorted pairs of all partitions.
#[derive(Debug)]
pub struct SortBuffer {
    arena: Vec<u8>,
    entries: Vec<SortEntry>,
    sizes: Vec<PartitionSize>,
    limit: usize,
    /// Bytes that it has held at most.
    touched: usize,
}

/// What a partition has.
#[derive(Clone, Copy, Debug, Default)]
struct PartitionSize {
    bytes: u64,
    pairs: u32,
}

/// Entries address this much.
const MAX_ARENA: usize = u32::MAX as usize;
/// A large pair is not copied where it would be more than this part of a buffer.
const LARGE_PART: usize = 8;
/// No pair takes less than its entry and two lengths.
const MIN_PAIR: usize = size_of::<SortEntry>() + 2;

impl SortBuffer {
    /// A buffer that wants to be emptied when it holds about `limit` bytes.
    pub fn new(partitions: u32, limit: usize) -> Self {
        let limit = limit.min(MAX_ARENA / 2);
        Self {
            arena: pages::with_capacity(limit),
            entries: pages::with_capacity(limit / MIN_PAIR + 1),
            sizes: vec![PartitionSize::default(); partitions as usize],
            limit,
            touched: 0,
        }
    }

    /// Adds a pair. Says whether the buffer is full.
    #[inline]
    pub fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> bool {
        let at = self.arena.len();
        put_varint(&mut self.arena, key.len());
        put_varint(&mut self.arena, value.len());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        self.entries.push(SortEntry { prefix: prefix(key), at: at as u32, partition });
        let size = &mut self.sizes[partition as usize];
        size.pairs += 1;
        size.bytes += (self.arena.len() - at) as u64;
        self.bytes() >= self.limit
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.arena.len() + self.entries.len() * size_of::<SortEntry>()
    }

    /// Bytes of memory that it takes: what has been touched stays, also when it is empty.
    pub fn footprint(&self) -> usize {
        self.touched.max(self.bytes()) + self.sizes.len() * size_of::<PartitionSize>()
    }

    /// Whether another pair of this size goes in beside those that are there. A large one that would be much of what
    /// does is not copied.
    #[inline]
    pub fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        let pair = key.len() + value.len() + 20;
        let room = self.arena.capacity();
        self.arena.len() + pair < room && (pair < LARGE_RECORD || pair < room / LARGE_PART)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sorts: partition by partition by key, equal keys in the order of their values or as they were added.
    /// Gives where each partition is.
    fn sort(&mut self, values_sorted: bool) -> Vec<(Range<usize>, u64)> {
        let counts: Vec<u32> = self.sizes.iter().map(|size| size.pairs).collect();
        radix::by_partition(&mut self.entries, &counts);
        let mut from = 0;
        let places = self.sizes.iter_mut().map(|size| {
            let PartitionSize { bytes, pairs } = std::mem::take(size);
            let place = from..from + pairs as usize;
            from = place.end;
            let keys = Arena { bytes: &self.arena, values_sorted };
            radix::sort(&mut self.entries[place.clone()], &keys);
            (place, bytes)
        });
        places.collect()
    }

    /// Calls `each` with the sorted pairs of each partition, and empties the buffer; its memory stays.
    pub fn drain(
        &mut self,
        values_sorted: bool,
        mut each: impl FnMut(u32, InOrder<'_>) -> Result<()>,
    ) -> Result<()> {
        for (partition, (place, _)) in (0..).zip(self.sort(values_sorted)) {
            let (arena, entries) = (&self.arena[..], &self.entries[..]);
            each(
                partition,
                InOrder { arena, entries, place, ahead: Ahead::default(), span: Span::default() },
            )?;
        }
        self.touched = self.touched.max(self.bytes());
        self.arena.clear();
        self.entries.clear();
        Ok(())
    }

    /// The sorted pairs of all partitions, which stay where they are.
    pub fn into_sorted(mut self, values_sorted: bool, reservation: MemoryReservation) -> SortedSpill {
        let ends = self.sort(values_sorted).into_iter().map(|(place, bytes)| (place.end, bytes)).collect();
        let pairs = SortedPairs { arena: self.arena, entries: self.entries, _reservation: reservation };
        SortedSpill { pairs: Arc::new(pairs), ends }
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

    #[inline]
    fn foresee(&self, places: impl Iterator<Item = u32>) {
        touch(self.bytes, places.map(|at| at as usize));
    }

    #[inline]
    fn has_ties(&self) -> bool {
        self.values_sorted
    }

    fn tie(&self, a: u32, b: u32) -> Ordering {
        if self.values_sorted { self.pair(a).1.cmp(self.pair(b).1) } else { Ordering::Equal }
    }
}

#[derive(Debug)]
struct SortedPairs {
    arena: Vec<u8>,
    entries: Vec<SortEntry>,
    _reservation: MemoryReservation,
}

/// Sorted pairs of all partitions, where they were sorted.
#[derive(Clone, Debug)]
pub struct SortedSpill {
    pairs: Arc<SortedPairs>,
    /// Of each partition: where its entries end, and the bytes of its pairs.
    ends: Arc<[(usize, u64)]>,
}

impl SortedSpill {
    /// Those of a partition.
    pub fn part(&self, partition: usize) -> Option<SortedRun> {
        let &(end, bytes) = self.ends.get(partition)?;
        let start = partition.checked_sub(1).map_or(0, |before| self.ends[before].0);
        Some(SortedRun { pairs: Arc::clone(&self.pairs), place: start..end, bytes })
    }

    /// Number of pairs.
    pub fn records(&self) -> u64 {
        self.pairs.entries.len() as u64
    }

    /// Bytes of the pairs.
    pub fn bytes(&self) -> u64 {
        self.ends.iter().map(|&(_, bytes)| bytes).sum()
    }
}

/// Sorted pairs of one partition, where they were sorted.
#[derive(Clone, Debug)]
pub struct SortedRun {
    pairs: Arc<SortedPairs>,
    place: Range<usize>,
    bytes: u64,
}

impl SortedRun {
    /// Bytes of the pairs.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of pairs.
    pub fn records(&self) -> u64 {
        self.place.len() as u64
    }

    /// What spans are places in.
    #[inline]
    pub fn arena(&self) -> &[u8] {
        &self.pairs.arena
    }

    /// Goes to the next pair; where it is.
    #[inline]
    pub(super) fn next(&mut self, ahead: &mut Ahead) -> Result<Option<Span>> {
        ahead.next(&self.pairs.arena, &self.pairs.entries, &mut self.place)
    }
}

/// Sorted pairs of one partition of a [`SortBuffer`].
#[derive(Debug)]
pub struct InOrder<'a> {
    arena: &'a [u8],
    entries: &'a [SortEntry],
    place: Range<usize>,
    ahead: Ahead,
    span: Span,
}

impl PairStream for InOrder<'_> {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        let Some(span) = self.ahead.next(self.arena, self.entries, &mut self.place)? else {
            return Ok(false);
        };
        self.span = span;
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

/// Pairs that are looked at together.
const AHEAD: usize = 32;
/// Bytes of a cache line, and how many of them are fetched of a record: what comes after is read in order,
/// which the processor foresees.
const LINE: usize = 64;
const LINES: usize = 4;

/// Where the next pairs are. In sort order they are all over the arena: looking at several at once lets the
/// processor wait for them together.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    spans: [Span; AHEAD],
    next: usize,
    end: usize,
    /// Bytes of the record before.
    bytes: usize,
}

impl Ahead {
    /// The next pair; `left` are the entries that have not been looked at.
    #[inline]
    fn next(&mut self, arena: &[u8], entries: &[SortEntry], left: &mut Range<usize>) -> Result<Option<Span>> {
        if self.next == self.end {
            self.look(arena, entries, left)?;
        }
        let span = self.spans[..self.end].get(self.next).copied();
        self.next += usize::from(span.is_some());
        Ok(span)
    }

    fn look(&mut self, arena: &[u8], entries: &[SortEntry], left: &mut Range<usize>) -> Result<()> {
        (self.next, self.end) = (0, left.len().min(AHEAD));
        let entries = &entries[left.start..left.start + self.end];
        // How long a record is, is in the record: a loop that asked would wait for one line after the other.
        let lines = (0..self.bytes).step_by(LINE).take(LINES);
        for offset in lines.chain([self.bytes]) {
            touch(arena, entries.iter().map(|entry| entry.at as usize + offset));
        }
        for (span, entry) in self.spans.iter_mut().zip(entries) {
            *span = record_at(arena, entry.at as usize)?;
        }
        if let (Some(span), Some(entry)) = (self.spans[..self.end].last(), entries.last()) {
            self.bytes = span.end - entry.at as usize - 1;
        }
        left.start += self.end;
        Ok(())
    }
}

/// Reads a byte at each of these places. Nothing depends on what it reads, so that the processor can wait for
/// all of them at once.
#[inline]
fn touch(arena: &[u8], places: impl Iterator<Item = usize>) {
    black_box(places.fold(0, |all, at| all ^ arena.get(at).copied().unwrap_or_default()));
}

#[cfg(test)]
mod tests {
    use super::{PairStream as _, SortBuffer};

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
    fn a_buffer_that_was_full_takes_its_memory_also_when_it_is_empty() {
        let mut buffer = SortBuffer::new(1, 1000);
        buffer.push(0, &[7; 400], b"");
        let full = buffer.footprint();
        buffer.drain(false, |_, _| Ok(())).unwrap();
        buffer.push(0, b"key", b"value");
        assert!(full > 400 && buffer.footprint() == full);
    }

    #[test]
    fn a_full_buffer_says_so() {
        let mut buffer = SortBuffer::new(1, 100);
        assert!(!buffer.push(0, b"key", b"value"));
        assert!(buffer.push(0, &[0; 60], b""));
        buffer.drain(false, |_, _| Ok(())).unwrap();
        assert!(buffer.is_empty() && !buffer.push(0, b"key", b"value"));
    }
}
