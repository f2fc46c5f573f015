//! Sums by key, added up as they come: what `combine: sum` does to map output.
//!
//! An open-addressing table whose slots hold the first 16 bytes of a key, so that most look-ups
//! touch one cache line. Numbers that are not integers, or too large for 64 bits, are kept apart,
//! exactly (see [`ExactSum`]): their sums don't depend on the order either.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::combine_stats::CombineStats;
use super::partition::KeyPartitioner;
use super::run::{RunWriter, Spill};
use super::spec::ShuffleSpec;
use crate::error::Result;
use crate::memory::LARGE_RECORD;
use crate::record::Pair;
use crate::record::hashed::{HashedKey, INLINE, hash};
use crate::record::number::{ExactSum, Number, not_a_number, push_i64};

/// Aligned, so that none is in two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Slot {
    /// The key's first 16 bytes, filled with zeros.
    a: u64,
    b: u64,
    sum: i64,
    /// Where a key of more than 16 bytes is in the arena.
    at: u32,
    len: u32,
}

/// No key is that long: records end at 1 GiB.
const EMPTY: Slot = Slot { a: 0, b: 0, sum: 0, at: 0, len: u32::MAX };

/// Writes a sum that is kept in parts, in their order where values are sorted; `first` is another part.
fn write_parts(
    key: &[u8],
    first: Option<&[u8]>,
    sum: &ExactSum,
    sorted: bool,
    writer: &mut RunWriter,
) -> Result<()> {
    let mut parts: Vec<Vec<u8>> = first.map(<[u8]>::to_vec).into_iter().collect();
    sum.each_text(&mut Vec::new(), |text| {
        parts.push(text.to_vec());
        Ok(())
    })?;
    if sorted {
        parts.sort_unstable();
    }
    parts.iter().try_for_each(|part| writer.push(key, part))
}

/// Sums by key.
#[derive(Debug)]
pub struct SumTable {
    slots: Vec<Slot>,
    arena: Vec<u8>,
    used: usize,
    limit: usize,
    others: BTreeMap<Vec<u8>, ExactSum>,
    others_bytes: usize,
    /// It has a large key, beside which there is to be none.
    has_large_key: bool,
    /// Pairs added.
    pub input: u64,
}

impl SumTable {
    /// A table that wants to be emptied when it takes about `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let slots = (1usize << 12).max((limit / 64 / size_of::<Slot>()).next_power_of_two() / 2).min(1 << 18);
        Self {
            slots: vec![EMPTY; slots],
            arena: Vec::new(),
            used: 0,
            limit,
            others: BTreeMap::new(),
            others_bytes: 0,
            has_large_key: false,
            input: 0,
        }
    }

    /// Adds one to a key's sum.
    #[inline]
    pub fn add_one(&mut self, key: &[u8]) {
        self.add_key(&HashedKey::new(key), 1);
    }

    /// Adds one to the sum of each of these keys: best of some ten at once.
    #[inline]
    pub fn add_ones(&mut self, keys: &[HashedKey<'_>]) {
        let mask = self.slots.len() - 1;
        self.touch(keys.iter().map(|key| key.hash as usize & mask));
        keys.iter().for_each(|key| self.add_key(key, 1));
    }

    /// Asks memory for some slots. A table is larger than the processor's caches, and to wait for a slot takes
    /// longer than all that is done with it; but memory answers many questions at once.
    #[inline]
    fn touch(&self, slots: impl Iterator<Item = usize>) {
        std::hint::black_box(slots.fold(0, |all, i| all ^ self.slots[i].len));
    }

    /// Adds a number to a key's sum; an error when the value is none.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.add_value(&HashedKey::new(key), value)
    }

    /// Adds a number to the sum of each key: best of some ten at once.
    pub fn add_all(&mut self, pairs: &[Pair<'_>]) -> Result<()> {
        let mut keys = [HashedKey::default(); 32];
        for pairs in pairs.chunks(keys.len()) {
            let keys = &mut keys[..pairs.len()];
            keys.iter_mut().zip(pairs).for_each(|(key, pair)| *key = HashedKey::new(pair.0));
            let mask = self.slots.len() - 1;
            self.touch(keys.iter().map(|key| key.hash as usize & mask));
            keys.iter().zip(pairs).try_for_each(|(key, pair)| self.add_value(key, pair.1))?;
        }
        Ok(())
    }

    #[inline]
    fn add_value(&mut self, key: &HashedKey<'_>, value: &[u8]) -> Result<()> {
        // Most often a word that was counted.
        if let [digit @ b'0'..=b'9'] = value {
            self.add_key(key, i64::from(digit - b'0'));
            return Ok(());
        }
        match Number::parse(value).ok_or_else(|| not_a_number(key.bytes, value))? {
            Number::Integer(n) if i64::try_from(n).is_ok() => self.add_key(key, n as i64),
            other => self.add_other(key.bytes, other),
        }
        Ok(())
    }

    fn add_other(&mut self, key: &[u8], number: Number) {
        self.input += 1;
        if let Some(sum) = self.others.get_mut(key) {
            sum.add(number);
        } else {
            let mut sum = ExactSum::default();
            sum.add(number);
            self.others_bytes += key.len() + 128;
            self.has_large_key |= key.len() > LARGE_RECORD;
            self.others.insert(key.to_vec(), sum);
        }
    }

    #[inline]
    fn add_key(&mut self, key: &HashedKey<'_>, n: i64) {
        self.input += 1;
        let &HashedKey { a, b, hash, bytes } = key;
        let len = bytes.len() as u32;
        let mask = self.slots.len() - 1;
        let mut i = hash as usize & mask;
        loop {
            let slot = &mut self.slots[i];
            if slot.len == len && slot.a == a && slot.b == b {
                let same = bytes.len() <= INLINE || &self.arena[slot.at as usize..][..bytes.len()] == bytes;
                if same {
                    match slot.sum.checked_add(n) {
                        Some(sum) => slot.sum = sum,
                        None => {
                            self.input -= 1;
                            self.add_other(bytes, Number::Integer(n.into()));
                        }
                    }
                    return;
                }
            } else if slot.len == EMPTY.len {
                *slot = Slot { a, b, sum: n, at: self.arena.len() as u32, len };
                if bytes.len() > INLINE {
                    self.add_to_arena(bytes);
                }
                self.used += 1;
                if self.used * 2 > self.slots.len() {
                    self.grow();
                }
                return;
            }
            i = (i + 1) & mask;
        }
    }

    #[inline]
    fn add_to_arena(&mut self, key: &[u8]) {
        if key.len() > LARGE_RECORD {
            self.arena.reserve_exact(key.len());
            self.has_large_key = true;
        }
        self.arena.extend_from_slice(key);
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![EMPTY; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, larger);
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.len != EMPTY.len) {
            let hash = if slot.len as usize <= INLINE {
                hash(slot.a, slot.b, slot.len)
            } else {
                xxhash_rust::xxh3::xxh3_64(&self.arena[slot.at as usize..][..slot.len as usize])
            };
            let mut i = hash as usize & mask;
            while self.slots[i].len != EMPTY.len {
                i = (i + 1) & mask;
            }
            self.slots[i] = slot;
        }
    }

    /// Whether the table takes as much memory as it should: with its next doubling and what
    /// emptying it takes it would take more.
    #[inline]
    pub fn is_full(&self) -> bool {
        let slots = self.slots.len() * size_of::<Slot>();
        let nearly_grown = self.used * 2 + (1 << 10) > self.slots.len();
        let next = if nearly_grown { slots * 3 } else { slots };
        next + self.arena.len() + self.others_bytes + self.used * 16 > self.limit
            || self.arena.len() > 1 << 31
            || self.has_large_key
    }

    /// Whether the table saves too little: see [`CombineStats`].
    #[inline]
    pub fn is_poor(&self) -> bool {
        CombineStats::is_poor(self.used, self.input)
    }

    /// Calls `each` with every key and its sum, in no order.
    pub fn each(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let mut value = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.len != EMPTY.len) {
            value.clear();
            push_i64(&mut value, slot.sum);
            each(Self::key(&self.arena, slot, &mut [0; INLINE]), &value)?;
        }
        self.others.iter().try_for_each(|(key, sum)| sum.each_text(&mut value, |text| each(key, text)))
    }

    /// Writes the sums as a sorted run of each partition, and empties the table.
    pub fn drain(
        &mut self,
        partitioner: &KeyPartitioner,
        shuffle_spec: &ShuffleSpec,
        writer: &mut RunWriter,
        name: &Arc<str>,
    ) -> Result<Spill> {
        let mut entries: Vec<Vec<(u64, u32)>> = vec![Vec::new(); partitioner.partitions() as usize];
        let mut inline = [0; INLINE];
        for (i, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.len != EMPTY.len) {
            let key = Self::key(&self.arena, slot, &mut inline);
            entries[partitioner.of(shuffle_spec.order.key(key), key) as usize]
                .push((slot.a.swap_bytes(), i as u32));
        }
        let mut others: Vec<BTreeMap<&[u8], &ExactSum>> = vec![BTreeMap::new(); entries.len()];
        for (key, sum) in &self.others {
            others[partitioner.of(shuffle_spec.order.key(key), key) as usize].insert(key, sum);
        }
        let (mut value, sorted) = (Vec::new(), shuffle_spec.values_sorted);
        for (mut entries, others) in entries.into_iter().zip(others) {
            let slot = |entry: &(u64, u32)| &self.slots[entry.1 as usize];
            entries.sort_unstable_by(|x, y| x.0.cmp(&y.0).then_with(|| self.compare_tails(slot(x), slot(y))));
            let mut others = others.into_iter().peekable();
            for entries in entries.chunks(32) {
                self.touch(entries.iter().map(|&(_, i)| i as usize));
                for &(_, i) in entries {
                    let slot = &self.slots[i as usize];
                    let key = Self::key(&self.arena, slot, &mut inline);
                    while let Some((other, sum)) = others.next_if(|(other, _)| **other < *key) {
                        write_parts(other, None, sum, sorted, writer)?;
                    }
                    value.clear();
                    push_i64(&mut value, slot.sum);
                    match others.next_if(|(other, _)| **other == *key) {
                        Some((_, sum)) => write_parts(key, Some(&value), sum, sorted, writer)?,
                        None => writer.push(key, &value)?,
                    }
                }
            }
            for (other, sum) in others {
                write_parts(other, None, sum, sorted, writer)?;
            }
            writer.end_partition()?;
        }
        self.slots.fill(EMPTY);
        self.arena.clear();
        if std::mem::take(&mut self.has_large_key) {
            self.arena = Vec::new();
        }
        self.used = 0;
        self.others.clear();
        self.others_bytes = 0;
        writer.end_spill(0, name)
    }

    /// Compares keys whose first 8 bytes, filled with zeros, are the same.
    fn compare_tails(&self, x: &Slot, y: &Slot) -> std::cmp::Ordering {
        x.b.swap_bytes().cmp(&y.b.swap_bytes()).then_with(|| {
            let tail = |slot: &Slot| match slot.len as usize {
                len if len > INLINE => &self.arena[slot.at as usize..][INLINE..len],
                _ => &[],
            };
            // The first 16 bytes are the same but for zeros at the end, which a length tells apart.
            let inline = |slot: &Slot| slot.len.min(INLINE as u32);
            inline(x).cmp(&inline(y)).then_with(|| tail(x).cmp(tail(y)))
        })
    }

    #[inline]
    fn key<'a>(arena: &'a [u8], slot: &Slot, inline: &'a mut [u8; INLINE]) -> &'a [u8] {
        let len = slot.len as usize;
        if len > INLINE {
            return &arena[slot.at as usize..][..len];
        }
        inline[..8].copy_from_slice(&slot.a.to_le_bytes());
        inline[8..].copy_from_slice(&slot.b.to_le_bytes());
        &inline[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::SumTable;

    /// In order: a key is there twice where its sum is in two parts.
    fn sums(table: &SumTable) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut sums = Vec::new();
        let keep = |key: &[u8], value: &[u8]| {
            sums.push((key.to_vec(), value.to_vec()));
            Ok(())
        };
        table.each(keep).unwrap();
        sums.sort();
        sums
    }

    #[test]
    fn what_is_added_at_once_is_added_as_one_by_one() {
        let keys: Vec<String> = (0..5000).map(|i| format!("{}{}", "key".repeat(i % 8), i % 700)).collect();
        let values = ["1", "7", "-3", "9223372036854775807", "0.5", " 12 "];
        let pairs: Vec<_> =
            keys.iter().enumerate().map(|(i, key)| (key.as_bytes(), values[i % 6].as_bytes())).collect();
        let (mut one_by_one, mut at_once) = (SumTable::new(1 << 20), SumTable::new(1 << 20));
        pairs.iter().for_each(|(key, value)| one_by_one.add(key, value).unwrap());
        pairs.chunks(50).for_each(|pairs| at_once.add_all(pairs).unwrap());
        assert_eq!((one_by_one.input, at_once.input), (5000, 5000));
        assert!(sums(&at_once).len() > 700 && sums(&at_once) == sums(&one_by_one));
    }

    #[test]
    fn a_value_that_is_no_number_is_named() {
        let error = SumTable::new(1 << 20).add_all(&[(b"a", b"1"), (b"b", b"x")]).unwrap_err().to_string();
        assert!(error.contains("`x`") && error.contains("`b`"), "{error}");
    }
}
