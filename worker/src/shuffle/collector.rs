//! Takes what a map function emits.

use std::sync::Arc;

use mapreduce_api::wire::Counters;

use super::combine::{Combined, write_combined};
use super::combine_stats::{CombineStats, CombineStrategy};
use super::partition::KeyPartitioner;
use super::run::{RunWriter, Spill};
use super::sort::SortBuffer;
use super::spec::ShuffleSpec;
use super::table::SumTable;
use crate::error::Result;
use crate::memory::{LARGE_RECORD, MemoryReservation};
use crate::record::block::BLOCK_BYTES;
use crate::record::hashed::HashedKey;
use crate::record::spill_store::SpillStore;
use crate::record::{Emit, MapOutput, Pair, Reducer};

/// What a map task's pairs are collected in.
#[derive(Debug)]
enum Collected {
    /// Sums by key: `combine: sum`.
    Sum(SumTable),
    /// Pairs to be sorted.
    Sort(SortBuffer),
}

/// How the pairs of a key are added up before the shuffle.
pub struct MapSideCombine {
    /// The combine function.
    pub combiner: Box<dyn Reducer>,
    /// Whether a table of sums may do its work, and whether that has paid so far.
    pub combine_stats: Option<Arc<CombineStats>>,
}

impl std::fmt::Debug for MapSideCombine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MapSideCombine").field("combine_stats", &self.combine_stats).finish_non_exhaustive()
    }
}

/// A buffer of which less than this part was used is not a run.
const MIN_SORTED_PART: usize = 8;

/// The output of a map task: its pairs, partitioned, sorted and combined.
pub struct Collector {
    sink: Collected,
    partitioner: KeyPartitioner,
    shuffle_spec: ShuffleSpec,
    stored: Vec<u8>,
    writer: RunWriter,
    combiner: Option<Box<dyn Reducer>>,
    /// Whether adding up pays, where the combiner is `sum`.
    combine_stats: Option<Arc<CombineStats>>,
    memory: usize,
    spill_store: Arc<SpillStore>,
    name: Arc<str>,
    spills: Vec<Spill>,
    /// What was emitted and combined, and the user's own.
    pub counters: Counters,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl Collector {
    /// Collects for a reduce phase, with about `memory` bytes until runs are made in `space`.
    pub fn for_shuffle(
        partitioner: KeyPartitioner,
        shuffle_spec: &ShuffleSpec,
        combine: Option<MapSideCombine>,
        memory: usize,
        spill_store: &Arc<SpillStore>,
        name: Arc<str>,
    ) -> Self {
        let (combiner, combine_stats) = match combine {
            Some(MapSideCombine { combiner, combine_stats }) => (Some(combiner), combine_stats),
            None => (None, None),
        };
        let sink = match &combine_stats {
            Some(combine_stats) if combine_stats.strategy() == CombineStrategy::Table => {
                Collected::Sum(SumTable::new(memory))
            }
            _ => Collected::Sort(SortBuffer::new(partitioner.partitions(), memory)),
        };
        Self {
            sink,
            partitioner,
            shuffle_spec: shuffle_spec.clone(),
            stored: Vec::new(),
            writer: RunWriter::new(spill_store),
            combiner,
            combine_stats,
            memory,
            spill_store: Arc::clone(spill_store),
            name,
            spills: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Takes a pair.
    #[inline]
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.counters.map_output_records += 1;
        let mut scratch = std::mem::take(&mut self.stored);
        let stored = self.shuffle_spec.order.encoded_key(key, &mut scratch);
        let result = self.keep(key, stored, value);
        // What a large key needed, the next one may not.
        self.stored = if scratch.capacity() > LARGE_RECORD { Vec::new() } else { scratch };
        result
    }

    #[inline]
    fn keep(&mut self, key: &[u8], stored: &[u8], value: &[u8]) -> Result<()> {
        match &mut self.sink {
            Collected::Sort(buffer) => {
                let partition = self.partitioner.of(key, stored);
                if !buffer.has_room(stored, value) {
                    return self.push_alone(partition, stored, value);
                }
                if buffer.push(partition, stored, value) {
                    self.flush()?;
                }
            }
            Collected::Sum(table) => {
                table.add(stored, value)?;
                self.make_room()?;
            }
        }
        Ok(())
    }

    /// A pair that may not fit the buffer even when it is empty. A large one is a run of its own, written from where
    /// it is.
    #[cold]
    fn push_alone(&mut self, partition: u32, key: &[u8], value: &[u8]) -> Result<()> {
        if matches!(&self.sink, Collected::Sort(buffer) if !buffer.is_empty()) {
            self.flush()?;
        }
        if key.len() + value.len() >= BLOCK_BYTES {
            self.writer.push(key, value)?;
            self.writer.end_partition()?;
            let spill = self.writer.end_spill(partition, &self.name)?;
            self.add(spill);
            return Ok(());
        }
        match &mut self.sink {
            Collected::Sort(buffer) => {
                buffer.push(partition, key, value);
                self.flush()
            }
            // It was found just now that adding up pays.
            Collected::Sum(table) => {
                table.add(key, value)?;
                self.make_room()
            }
        }
    }

    /// The table of sums, where keys are stored as they are.
    #[inline]
    fn plain_sums(&mut self) -> Option<&mut SumTable> {
        match &mut self.sink {
            Collected::Sum(table) if self.shuffle_spec.order.is_plain() => Some(table),
            _ => None,
        }
    }

    /// Says that `pairs` were added to the table itself.
    #[inline]
    fn added(&mut self, pairs: u64) -> Result<()> {
        self.counters.map_output_records += pairs;
        self.make_room()
    }

    /// Empties a table that is full, and gives up one that saves too little.
    #[inline]
    fn make_room(&mut self) -> Result<()> {
        match &self.sink {
            Collected::Sum(table) if table.is_full() => self.flush(),
            Collected::Sum(table) if table.is_poor() => self.sort_instead(),
            _ => Ok(()),
        }
    }

    /// Goes on with sorting, and with the sums so far as pairs.
    #[cold]
    fn sort_instead(&mut self) -> Result<()> {
        if let Some(combine_stats) = &self.combine_stats {
            combine_stats.gave_up();
        }
        let buffer = SortBuffer::new(self.partitioner.partitions(), self.memory);
        let Collected::Sum(table) = std::mem::replace(&mut self.sink, Collected::Sort(buffer)) else {
            return Ok(());
        };
        self.counters.combine_input_records += table.input;
        let order = self.shuffle_spec.order.clone();
        table.each(|stored, value| {
            self.counters.combine_output_records += 1;
            self.keep(order.key(stored), stored, value)
        })
    }

    /// Makes sorted runs of what is in memory.
    fn flush(&mut self) -> Result<()> {
        match &mut self.sink {
            Collected::Sum(table) => {
                self.counters.combine_input_records += std::mem::take(&mut table.input);
                let spill =
                    table.drain(&self.partitioner, &self.shuffle_spec, &mut self.writer, &self.name)?;
                self.counters.combine_output_records += spill.records();
                self.add(spill);
                Ok(())
            }
            Collected::Sort(buffer) => {
                let combines = self.combiner.is_some()
                    && self.combine_stats.as_ref().is_none_or(|combine_stats| combine_stats.combines());
                // A buffer that is nearly empty has reserved more addresses than it is worth.
                let stays = !combines && buffer.footprint() >= self.memory / MIN_SORTED_PART;
                let lease = if stays { self.spill_store.lease(buffer.footprint()) } else { None };
                match lease {
                    Some(lease) => {
                        self.keep_sorted(lease);
                        Ok(())
                    }
                    None => self.write_sorted(combines),
                }
            }
        }
    }

    /// Leaves sorted pairs where they are.
    fn keep_sorted(&mut self, reservation: MemoryReservation) {
        let Collected::Sort(buffer) = &mut self.sink else { return };
        let next = SortBuffer::new(self.partitioner.partitions(), self.memory);
        let sorted =
            std::mem::replace(buffer, next).into_sorted(self.shuffle_spec.values_sorted, reservation);
        self.add(Spill::sorted(sorted, &self.name));
    }

    /// Writes sorted pairs out, perhaps combined.
    fn write_sorted(&mut self, combines: bool) -> Result<()> {
        let Collected::Sort(buffer) = &mut self.sink else { return Ok(()) };
        let mut all = Combined::default();
        buffer.drain(self.shuffle_spec.values_sorted, |_, sorted| {
            let combiner = self.combiner.as_deref_mut().filter(|_| combines);
            let writer = &mut self.writer;
            let combined =
                write_combined(sorted, &self.shuffle_spec, combiner, &self.spill_store, &mut |k, v| {
                    writer.push(k, v)
                })?;
            all.input += combined.input;
            all.output += combined.output;
            writer.end_partition()
        })?;
        let spill = self.writer.end_spill(0, &self.name)?;
        self.add(spill);
        self.counters.combine_input_records += all.input;
        self.counters.combine_output_records += all.output;
        let strategy =
            self.combine_stats.as_ref().map(|combine_stats| combine_stats.combined(all.input, all.output));
        if strategy == Some(CombineStrategy::Table) {
            self.sink = Collected::Sum(SumTable::new(self.memory));
        }
        Ok(())
    }

    /// Only pairs are worth keeping.
    fn add(&mut self, spill: Spill) {
        if spill.records() > 0 {
            self.spills.push(spill);
        }
    }

    /// Ends the task: its runs.
    pub fn into_spills(mut self) -> Result<(Vec<Spill>, Counters)> {
        self.flush()?;
        Ok((self.spills, self.counters))
    }
}

impl Emit for Collector {
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.take(key, value)
    }

    fn emit_all(&mut self, pairs: &[Pair<'_>]) -> Result<()> {
        if let Some(table) = self.plain_sums() {
            table.add_all(pairs)?;
            return self.added(pairs.len() as u64);
        }
        pairs.iter().try_for_each(|(key, value)| self.take(key, value))
    }
}

impl MapOutput for Collector {
    #[inline]
    fn emit_one(&mut self, key: &[u8]) -> Result<()> {
        if let Some(table) = self.plain_sums() {
            table.add_one(key);
            return self.added(1);
        }
        self.take(key, b"1")
    }

    #[inline]
    fn adds_up(&self) -> bool {
        matches!(self.sink, Collected::Sum(_)) && self.shuffle_spec.order.is_plain()
    }

    #[inline]
    fn add_ones(&mut self, keys: &[HashedKey<'_>]) -> Result<()> {
        if let Some(table) = self.plain_sums() {
            table.add_ones(keys);
            return self.added(keys.len() as u64);
        }
        keys.iter().try_for_each(|key| self.take(key.bytes, b"1"))
    }
}
