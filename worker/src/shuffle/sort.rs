//! Pairs kept in memory, to be sorted by partition and key.
//!
//! ```text
//!  arena    klen vlen key value │ klen vlen key value │ …        each pair is copied here once
//!  entries  per partition: (first 8 bytes of the key, place in the arena)
//! ```
//!
//! Only the 16-byte entries are sorted; most comparisons end at the 8 bytes.

use super::block::{Span, put_varint, record_at};
use super::merge::Pairs;
use super::run::prefix;
use crate::error::Result;

#[derive(Clone, Copy, Debug)]
struct Entry {
    prefix: u64,
    at: u32,
}

/// Unsorted pairs of all partitions.
#[derive(Debug)]
pub struct SortBuffer {
    arena: Vec<u8>,
    partitions: Vec<Vec<Entry>>,
    records: usize,
    limit: usize,
}

/// Entries address this much.
const MAX_ARENA: usize = u32::MAX as usize;

impl SortBuffer {
    /// A buffer that wants to be emptied when it holds about `limit` bytes.
    pub fn new(partitions: u32, limit: usize) -> Self {
        let partitions = (0..partitions).map(|_| Vec::new()).collect();
        Self { arena: Vec::new(), partitions, records: 0, limit: limit.min(MAX_ARENA / 2) }
    }

    /// Adds a pair. Says whether the buffer is full.
    #[inline]
    pub fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) -> bool {
        let at = self.arena.len() as u32;
        put_varint(&mut self.arena, key.len());
        put_varint(&mut self.arena, value.len());
        self.arena.extend_from_slice(key);
        self.arena.extend_from_slice(value);
        self.partitions[partition as usize].push(Entry { prefix: prefix(key), at });
        self.records += 1;
        self.is_full()
    }

    /// Whether the buffer holds as much as it should.
    pub fn is_full(&self) -> bool {
        self.arena.len() + self.records * size_of::<Entry>() >= self.limit
    }

    /// Whether another pair of this size fits what entries can address.
    pub fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        self.arena.len() + key.len() + value.len() + 20 < MAX_ARENA
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The sorted pairs of a partition. Equal keys are in the order of their values, or stay in the
    /// order in which they were added.
    pub fn sorted(&mut self, partition: u32, values_sorted: bool) -> Sorted<'_> {
        let Self { arena, partitions, .. } = self;
        let entries = &mut partitions[partition as usize];
        let pair = |at: u32| {
            let span = record_at(arena, at as usize).unwrap_or_default();
            (&arena[span.key..span.value], &arena[span.value..span.end])
        };
        entries.sort_unstable_by(|a, b| {
            a.prefix.cmp(&b.prefix).then_with(|| {
                let ((key, value), (other, other_value)) = (pair(a.at), pair(b.at));
                let values =
                    || if values_sorted { value.cmp(other_value) } else { std::cmp::Ordering::Equal };
                key.cmp(other).then_with(values).then(a.at.cmp(&b.at))
            })
        });
        Sorted { arena, entries, next: 0, span: Span::default() }
    }

    /// Empties the buffer; its memory stays.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.partitions.iter_mut().for_each(Vec::clear);
        self.records = 0;
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
        for partition in 0..2 {
            let mut sorted = buffer.sorted(partition, false);
            while sorted.advance().unwrap() {
                found.push((
                    partition,
                    String::from_utf8_lossy(sorted.key()).into_owned(),
                    sorted.value()[0] - b'0',
                ));
            }
        }
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
        buffer.clear();
        assert!(buffer.is_empty() && !buffer.is_full());
    }
}
