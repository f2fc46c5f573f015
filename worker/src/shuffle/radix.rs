//! Sorts places in an arena by the keys that are there: radix sort on 8 bytes of the key at a time.
//!
//! ```text
//!  entry = prefix u64 │ at u32 │ partition u32        16 bytes; the only thing that is moved
//!
//!  by partition ─> by the highest 11 bits in which prefixes differ ─> … ─> few entries: compared as numbers
//!                                                                      └─> one prefix: its next 8 bytes
//! ```
//!
//! Looking for the highest bit that differs passes over what keys have in common, and over the bits that
//! text never sets. Entries are permuted in place ("American flag" sort, McIlroy, Bostic and McIlroy 1993),
//! so that sorting takes no memory.

use std::cmp::Ordering;

/// A pair's place, and 8 bytes of its key as a number that sorts as they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct SortEntry {
    pub(super) prefix: u64,
    pub(super) at: u32,
    pub(super) partition: u32,
}

/// The pairs that entries are of.
pub(super) trait Keys {
    /// A pair's key.
    fn key(&self, at: u32) -> &[u8];
    /// Says that these keys will be asked for: memory answers many questions in the time of one.
    fn foresee(&self, _places: impl Iterator<Item = u32>) {}
    /// Whether pairs whose keys are the same have an order of their own.
    fn has_ties(&self) -> bool;
    /// The order of two pairs whose keys are the same; pairs that are the same keep their places' order.
    fn tie(&self, a: u32, b: u32) -> Ordering;
}

/// Bits of a digit.
const DIGIT: u32 = 11;
/// So few entries are compared.
const FEW: usize = 48;
/// Keys that have so many bytes in common are compared: they are too long to be looked at piece by piece.
const DEEPEST: usize = 256;

/// Moves the entries of each partition together. `counts` has their numbers.
pub(super) fn by_partition(entries: &mut [SortEntry], counts: &[u32]) {
    if counts.len() > 1 {
        distribute(entries, counts, |entry| entry.partition as usize);
    }
}

/// Sorts entries by the keys of their pairs.
pub(super) fn sort(entries: &mut [SortEntry], keys: &impl Keys) {
    sort_from(entries, keys, 0);
}

/// Sorts entries whose keys begin with the same `depth` bytes, and whose prefixes are of what follows.
fn sort_from(entries: &mut [SortEntry], keys: &impl Keys, depth: usize) {
    if entries.len() > FEW {
        let first = entries[0].prefix;
        let differ = entries.iter().fold(0, |bits, entry| bits | (entry.prefix ^ first));
        if differ != 0 {
            return by_digit(entries, keys, depth, differ.ilog2());
        }
        return same_prefix(entries, keys, depth);
    }
    entries.sort_unstable_by_key(|entry| (entry.prefix, entry.at));
    let pairs = entries.iter().zip(entries.iter().skip(1)).filter(|(a, b)| a.prefix == b.prefix);
    keys.foresee(pairs.flat_map(|(a, b)| [a.at, b.at]));
    for group in entries.chunk_by_mut(|a, b| a.prefix == b.prefix) {
        if group.len() > 1 {
            compare(group, keys, depth);
        }
    }
}

/// Sorts entries whose prefixes differ in the bits up to `highest`.
fn by_digit(entries: &mut [SortEntry], keys: &impl Keys, depth: usize, highest: u32) {
    // A bucket for about every 16 entries: more of them would mostly be empty.
    let bits = (entries.len().ilog2().saturating_sub(4)).clamp(4, DIGIT).min(highest + 1);
    let shift = highest + 1 - bits;
    let mask = (1u64 << bits) - 1;
    let digit = |entry: &SortEntry| (entry.prefix >> shift & mask) as usize;
    let mut counts = vec![0u32; 1 << bits];
    entries.iter().for_each(|entry| counts[digit(entry)] += 1);
    distribute(entries, &counts, digit);
    let mut rest = entries;
    for &count in counts.iter().filter(|count| **count > 0) {
        let (bucket, others) = rest.split_at_mut(count as usize);
        rest = others;
        sort_from(bucket, keys, depth);
    }
}

/// Sorts entries of one prefix: by the next 8 bytes, where all keys have some.
fn same_prefix(entries: &mut [SortEntry], keys: &impl Keys, depth: usize) {
    let next = depth + 8;
    if next > DEEPEST || entries.iter().any(|entry| keys.key(entry.at).len() <= next) {
        return compare(entries, keys, depth);
    }
    entries.iter_mut().for_each(|entry| entry.prefix = prefix(&keys.key(entry.at)[next..]));
    sort_from(entries, keys, next);
}

/// Sorts entries of one prefix by comparing.
fn compare(entries: &mut [SortEntry], keys: &impl Keys, depth: usize) {
    // Keys that end within the prefix, and are of one length, are the same: short words that come often.
    let bytes = keys.key(entries[0].at).len();
    if !keys.has_ties() && bytes <= depth + 8 && entries.iter().all(|entry| keys.key(entry.at).len() == bytes)
    {
        return entries.sort_unstable_by_key(|entry| entry.at);
    }
    entries.sort_unstable_by(|a, b| {
        let rest = |at| keys.key(at).get(depth..).unwrap_or_default();
        rest(a.at).cmp(rest(b.at)).then_with(|| keys.tie(a.at, b.at)).then(a.at.cmp(&b.at))
    });
}

/// Moves each entry to its bucket's stretch.
fn distribute(entries: &mut [SortEntry], counts: &[u32], bucket: impl Fn(&SortEntry) -> usize) {
    // Where each stretch has been filled to.
    let mut filled: Vec<u32> = Vec::with_capacity(counts.len());
    let mut end = 0;
    for count in counts {
        filled.push(end);
        end += count;
    }
    end = 0;
    for home in 0..counts.len() {
        end += counts[home];
        while filled[home] < end {
            let mut entry = entries[filled[home] as usize];
            loop {
                let to = bucket(&entry);
                let place = &mut filled[to];
                std::mem::swap(&mut entries[*place as usize], &mut entry);
                *place += 1;
                if to == home {
                    break;
                }
            }
        }
    }
}

/// The first 8 bytes of a key as a number that sorts as they do; shorter keys are filled with zeros.
#[inline]
pub(super) fn prefix(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::{Keys, SortEntry, by_partition, prefix, sort};

    struct List(Vec<Vec<u8>>);

    impl Keys for List {
        fn key(&self, at: u32) -> &[u8] {
            &self.0[at as usize]
        }

        fn has_ties(&self) -> bool {
            false
        }

        fn tie(&self, _: u32, _: u32) -> Ordering {
            Ordering::Equal
        }
    }

    fn sorted(list: &List) -> Vec<u32> {
        let entry =
            |(at, key): (usize, &Vec<u8>)| SortEntry { prefix: prefix(key), at: at as u32, partition: 0 };
        let mut entries: Vec<_> = list.0.iter().enumerate().map(entry).collect();
        sort(&mut entries, list);
        entries.iter().map(|entry| entry.at).collect()
    }

    /// Keys of few and of many bytes, with long common beginnings, zeros at the end, and duplicates.
    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let key = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            proptest::collection::vec(0u8..3, 0..40),
            "(/products/|/static/img/)[0-9a-f]{0,12}".prop_map(String::into_bytes),
            "the|of|of\0|and".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(key, 0..2000)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn keys_are_sorted_and_equal_ones_stay_as_they_came(keys in keys()) {
            let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
            expected.sort_by(|&a, &b| keys[a as usize].cmp(&keys[b as usize]));
            prop_assert_eq!(sorted(&List(keys)), expected);
        }

        #[test]
        fn partitions_are_moved_together(partitions in proptest::collection::vec(0u32..7, 0..300)) {
            let mut counts = [0; 7];
            let mut entries = Vec::new();
            for (at, &partition) in partitions.iter().enumerate() {
                counts[partition as usize] += 1;
                entries.push(SortEntry { prefix: 0, at: at as u32, partition });
            }
            by_partition(&mut entries, &counts);
            prop_assert!(entries.is_sorted_by_key(|entry| entry.partition));
            let mut places: Vec<_> = entries.iter().map(|entry| entry.at).collect();
            places.sort_unstable();
            prop_assert!(places.iter().enumerate().all(|(i, &at)| i == at as usize));
        }
    }
}
