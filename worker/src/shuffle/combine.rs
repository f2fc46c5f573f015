//! Writes sorted pairs through a combiner, and merges runs down to fewer on the way.
//!
//! What comes out has to be sorted as what went in. A built-in function emits a group's pairs while
//! it has the group; a program, or a script that gets groups in batches, some time afterwards.

use std::collections::VecDeque;
use std::sync::Arc;

use super::merge::Merge;
use super::run::{Run, RunWriter};
use super::spec::ShuffleSpec;
use super::stream::{Groups, PairStream};
use crate::error::{Error, Result};
use crate::memory::LARGE_RECORD;
use crate::record::spill_store::SpillStore;
use crate::record::{Emit, Reducer};

/// Takes the pairs that are written.
type Write<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// What a combiner has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Combined {
    /// Pairs that went in.
    pub input: u64,
    /// Pairs that came out.
    pub output: u64,
}

/// Bytes of keys that a combiner may still emit pairs of.
const MAX_AWAITED: usize = 8 << 20;
/// Runs of a key's values that are merged at once.
const MAX_RUNS: usize = 16;

/// Writes sorted pairs, through a combiner where there is one. What doesn't fit in memory then goes to `space`.
pub fn write_combined<P: PairStream>(
    mut pairs: P,
    shuffle_spec: &ShuffleSpec,
    combiner: Option<&mut (dyn Reducer + '_)>,
    spill_store: &Arc<SpillStore>,
    write: &mut Write<'_>,
) -> Result<Combined> {
    let Some(combiner) = combiner else {
        while pairs.advance()? {
            write(pairs.key(), pairs.value())?;
        }
        return Ok(Combined::default());
    };
    let mut groups = Groups::new(pairs);
    let mut out = Combining::new(AwaitedKeys::default(), shuffle_spec, spill_store, write);
    let mut output = 0;
    while let Some((stored, mut values)) = groups.next_group()? {
        let key = shuffle_spec.order.key(stored);
        let is_large = stored.len() > LARGE_RECORD;
        if is_large || out.keys.bytes() > MAX_AWAITED {
            out.end(combiner)?;
        }
        if is_large {
            // Of a large key there is no other copy: its pairs are all there before the next group.
            let alone = AwaitedKeys { alone: Some(stored), ..AwaitedKeys::default() };
            let mut alone = Combining::new(alone, shuffle_spec, spill_store, &mut *out.write);
            combiner.reduce(key, &mut values, &mut alone)?;
            alone.end(combiner)?;
            output += alone.records;
            continue;
        }
        out.keys.push(stored);
        combiner.reduce(key, &mut values, &mut out)?;
    }
    out.end(combiner)?;
    Ok(Combined { input: groups.records(), output: output + out.records })
}

/// Merges neighbouring runs until there are at most `most`, combining on the way, and no more of them than that
/// takes: what isn't merged here isn't written again. Neighbours stay neighbours, so that equal keys keep their order.
pub fn merge_down(
    mut runs: Vec<Run>,
    most: usize,
    spill_store: &Arc<SpillStore>,
    shuffle_spec: &ShuffleSpec,
    mut combiner: Option<&mut Box<dyn Reducer>>,
) -> Result<Vec<Run>> {
    loop {
        // Large pairs take their memory one after the other.
        let most = most + runs.iter().filter(|run| run.is_large_pair()).count().min(MAX_LARGE_PAIRS);
        if runs.len() <= most {
            return Ok(runs);
        }
        let name: Arc<str> = Arc::from("a scratch file");
        let mut merged = Vec::new();
        let mut excess = runs.len() - most;
        let mut left = runs.into_iter();
        while excess > 0 && left.len() > 1 {
            let group: Vec<_> = left.by_ref().take(most.max(2).min(excess + 1)).collect();
            excess -= group.len() - 1;
            let mut writer = RunWriter::new(spill_store);
            let merge = Merge::new(group, shuffle_spec.values_sorted);
            let combiner = combiner.as_mut().map(|combiner| &mut ***combiner);
            write_combined(merge, shuffle_spec, combiner, spill_store, &mut |key, value| {
                writer.push(key, value)
            })?;
            merged.push(writer.end(&name)?);
        }
        merged.extend(left);
        runs = merged;
    }
}

/// Runs of a large pair alone that are merged beside others.
const MAX_LARGE_PAIRS: usize = 4096;

/// Output of a combiner: pairs of the keys that it was given, in their order, or the run would not
/// be sorted any more.
struct Combining<'a, 'w> {
    keys: AwaitedKeys<'a>,
    values: SortedValues,
    shuffle_spec: &'a ShuffleSpec,
    spill_store: &'a Arc<SpillStore>,
    write: &'a mut Write<'w>,
    records: u64,
}

/// Values of the key that was emitted last, where values are to be sorted.
#[derive(Default)]
struct SortedValues {
    stored: Vec<u8>,
    list: Vec<Vec<u8>>,
    bytes: usize,
    /// Those that did not fit in memory: as keys, so that runs of them are in their order.
    runs: Vec<Run>,
}

impl SortedValues {
    /// Makes room for more values of the same key.
    fn spill(&mut self, spill_store: &Arc<SpillStore>) -> Result<()> {
        self.list.sort_unstable();
        let mut writer = RunWriter::new(spill_store);
        self.list.drain(..).try_for_each(|value| writer.push(&value, b""))?;
        self.bytes = 0;
        self.runs.push(writer.end(&Arc::from("a scratch file"))?);
        if self.runs.len() > MAX_RUNS {
            self.runs =
                merge_down(std::mem::take(&mut self.runs), 1, spill_store, &ShuffleSpec::default(), None)?;
        }
        Ok(())
    }
}

impl Emit for Combining<'_, '_> {
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if !self.keys.go_to(key, self.shuffle_spec) {
            return Err(Error::permanent(format!(
                "a combine function has to emit the keys that it was given, in their order, and not `{}`",
                key.escape_ascii()
            )));
        }
        self.records += 1;
        if !self.shuffle_spec.values_sorted {
            return (self.write)(self.keys.first(), value);
        }
        if self.keys.alone.is_none() && self.values.stored != self.keys.first() {
            self.write_values()?;
            self.values.stored.extend_from_slice(self.keys.first());
        }
        if self.values.bytes > self.spill_store.values_bytes() {
            self.values.spill(self.spill_store)?;
        }
        self.values.list.push(value.to_vec());
        self.values.bytes += value.len() + size_of::<Vec<u8>>();
        Ok(())
    }
}

impl<'a, 'w> Combining<'a, 'w> {
    fn new(
        keys: AwaitedKeys<'a>,
        shuffle_spec: &'a ShuffleSpec,
        spill_store: &'a Arc<SpillStore>,
        write: &'a mut Write<'w>,
    ) -> Self {
        Self { keys, values: SortedValues::default(), shuffle_spec, spill_store, write, records: 0 }
    }

    /// Has all pairs of the keys so far, and forgets these.
    fn end(&mut self, combiner: &mut dyn Reducer) -> Result<()> {
        combiner.finish(self)?;
        self.write_values()?;
        self.keys = AwaitedKeys::default();
        Ok(())
    }

    fn write_values(&mut self) -> Result<()> {
        let mut values = std::mem::take(&mut self.values);
        if !values.runs.is_empty() {
            values.spill(self.spill_store)?;
            let stored = self.keys.alone.unwrap_or(&values.stored);
            let mut merge = Merge::new(values.runs, false);
            while merge.advance()? {
                (self.write)(stored, merge.key())?;
            }
            return Ok(());
        }
        values.list.sort_unstable();
        let stored = self.keys.alone.unwrap_or(&values.stored);
        values.list.iter().try_for_each(|value| (self.write)(stored, value))
    }
}

/// The stored keys that a combiner was given and has not gone past.
#[derive(Default)]
struct AwaitedKeys<'a> {
    /// A large key, which is the only one.
    alone: Option<&'a [u8]>,
    text: Vec<u8>,
    ends: VecDeque<usize>,
    /// Where the first of them begins.
    start: usize,
}

impl AwaitedKeys<'_> {
    fn bytes(&self) -> usize {
        self.text.len() - self.start + self.ends.len() * size_of::<usize>()
    }

    fn push(&mut self, stored: &[u8]) {
        // Two copies of a byte at most: what is before the start is at least half.
        if self.start > self.text.len() / 2 {
            self.text.drain(..self.start);
            self.ends.iter_mut().for_each(|end| *end -= self.start);
            self.start = 0;
        }
        self.text.extend_from_slice(stored);
        self.ends.push_back(self.text.len());
    }

    /// The first of them.
    fn first(&self) -> &[u8] {
        match self.alone {
            Some(alone) => alone,
            None => self.ends.front().map_or(&[], |&end| &self.text[self.start..end]),
        }
    }

    /// Goes past all keys before this one; false when it isn't there.
    fn go_to(&mut self, key: &[u8], shuffle_spec: &ShuffleSpec) -> bool {
        if let Some(alone) = self.alone {
            return shuffle_spec.order.key(alone) == key;
        }
        while let Some(&end) = self.ends.front() {
            if shuffle_spec.order.key(self.first()) == key {
                return true;
            }
            self.start = end;
            self.ends.pop_front();
        }
        false
    }
}
