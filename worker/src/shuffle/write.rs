//! Writes a shuffle object: some partitions are merged and compressed at once, and written in their order.
//!
//! ```text
//!  thread 1   partition 0 ─────────────> written as it comes: it is its turn │ 2 ──> …
//!  thread 2   partition 1 ──> buffer ──> full: waits for its turn            │ written as it comes
//! ```
//!
//! Threads take partitions in order, so that the one whose turn it is is always being merged, and waits for none of
//! the others. Who waits holds no right to a large record, which that one may want ([`memory::large_record`]).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::combine::{Combined, merge_down, write_combined};
use super::merge::{FanIn, Merge};
use super::object::{Extent, ShuffleObject};
use super::run::Spill;
use super::spec::ShuffleSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::machine::threads;
use crate::memory::{self, LARGE_RECORD, MemoryReservation};
use crate::record::Reducer;
use crate::record::block::{BLOCK_BYTES, BlockCodec, BlockWriter, large_block_start};
use crate::record::spill_store::SpillStore;
use crate::storage::{Location, StagedWriter};

/// How the runs of a task are merged.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions<'a> {
    /// How blocks are compressed.
    pub codec: BlockCodec,
    /// Partitions at once.
    pub threads: usize,
    /// Bytes for blocks of runs, all partitions together.
    pub memory: u64,
    /// Where runs between merges are kept.
    pub spill_store: &'a Arc<SpillStore>,
    /// The order of pairs.
    pub shuffle_spec: &'a ShuffleSpec,
    /// Bytes that may go with the commit record.
    pub with_record: usize,
}

/// What [`write()`] has made of a task's runs.
#[derive(Debug)]
pub struct Shuffled {
    /// What the commit record says of it.
    pub object: ShuffleObject,
    /// What goes with the record.
    pub data: Vec<u8>,
    /// What was combined on the way.
    pub combined: Combined,
}

/// Merges the runs of each partition. If that is much it goes to the object `name`. Each thread has a combiner of its
/// own.
pub fn write(
    place: &Location,
    name: String,
    spills: &[Spill],
    partitions: u32,
    options: &WriteOptions<'_>,
    combiner: impl Fn() -> Option<Box<dyn Reducer>> + Sync,
) -> Result<Shuffled> {
    let threads = options.threads.min(partitions as usize).max(1);
    let fan_in = FanIn::for_memory(options.memory / threads as u64);
    let out = Out { place, name, most: options.with_record, small: Vec::new(), large: None };
    let turns = Turns { turn: Mutex::new(WriteTurn { of: 0, out, failed: false }), changed: Condvar::new() };
    let next = AtomicU32::new(0);
    let done = threads::each(threads, |_| {
        let mut merging = Merging { spills, options, fan_in, combiner: combiner(), written: Vec::new() };
        let end = FailsUnlessEnded(&turns);
        loop {
            let partition = next.fetch_add(1, Ordering::Relaxed);
            if partition >= partitions || turns.lock().failed {
                break;
            }
            merging.write(PartitionOut::new(&turns, partition, threads))?;
        }
        std::mem::forget(end);
        Ok(merging.written)
    });
    let panicked = |_| Err(Error::retry("a thread that wrote shuffle data has panicked"));
    let done = done.into_iter().map(|done| done.unwrap_or_else(panicked));
    // Those that waited for one that has failed don't know why.
    let done = done.reduce(|first, second| match (first, second) {
        (Ok(mut first), Ok(second)) => {
            first.extend(second);
            Ok(first)
        }
        (Err(first), Err(second)) if first.kind() == ErrorKind::Cancelled => Err(second),
        (Err(error), _) | (_, Err(error)) => Err(error),
    });
    let mut written: Vec<WrittenPartition> = done.unwrap_or_else(|| Ok(Vec::new()))?;
    written.sort_by_key(|written| written.partition);
    let (mut offset, mut combined) = (0, Combined::default());
    let extents = written.into_iter().map(|written| {
        combined.input += written.combined.input;
        combined.output += written.combined.output;
        let extent = Extent { offset, bytes: written.bytes, records: written.records };
        offset += written.bytes;
        extent
    });
    let extents = extents.collect();
    let turn = turns.turn.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (name, data) = turn.out.end()?;
    Ok(Shuffled { object: ShuffleObject { name, extents }, data, combined })
}

/// What has become of a partition.
#[derive(Clone, Copy, Debug)]
struct WrittenPartition {
    partition: u32,
    bytes: u64,
    records: u64,
    combined: Combined,
}

/// Merges partitions in one thread.
struct Merging<'a> {
    spills: &'a [Spill],
    options: &'a WriteOptions<'a>,
    fan_in: FanIn,
    combiner: Option<Box<dyn Reducer>>,
    written: Vec<WrittenPartition>,
}

impl Merging<'_> {
    fn write(&mut self, mut out: PartitionOut<'_, '_>) -> Result<()> {
        let WriteOptions { codec, spill_store, shuffle_spec, .. } = *self.options;
        let runs = Spill::runs(self.spills, out.partition)?;
        // A single run was combined when it was made.
        let mut combiner = if runs.len() > 1 { self.combiner.as_mut() } else { None };
        let runs = merge_down(runs, self.fan_in.0, spill_store, shuffle_spec, combiner.as_deref_mut())?;
        if runs.iter().any(|run| run.may_have_large_pairs) {
            out.wait_for_turn()?;
        }
        let (mut blocks, mut block, mut records) = (BlockWriter::new(codec), Vec::new(), 0);
        let combiner = combiner.map(|combiner| &mut **combiner);
        let merge = Merge::new(runs, shuffle_spec.values_sorted);
        let combined = write_combined(merge, shuffle_spec, combiner, spill_store, &mut |key, value| {
            records += 1;
            let is_large = key.len() + value.len() >= LARGE_RECORD;
            if is_large || blocks.push(key, value) {
                blocks.end(&mut block)?;
                if is_large {
                    // It is written from where it is, and not compressed: that would take twice its memory.
                    block.extend_from_slice(&large_block_start(key, value)?);
                }
                out.write(&block)?;
                block.clear();
            }
            if is_large {
                out.write(key)?;
                out.write(value)?;
            }
            Ok(())
        })?;
        blocks.end(&mut block)?;
        out.write(&block)?;
        let partition = out.partition;
        let bytes = out.end()?;
        self.written.push(WrittenPartition { partition, bytes, records, combined });
        Ok(())
    }
}

/// The object, which partitions are written to one after the other.
struct Turns<'a> {
    turn: Mutex<WriteTurn<'a>>,
    changed: Condvar,
}

struct WriteTurn<'a> {
    /// The partition whose turn it is.
    of: u32,
    out: Out<'a>,
    /// A partition has failed: those after it will never have their turn.
    failed: bool,
}

impl<'a> Turns<'a> {
    fn lock(&self) -> MutexGuard<'_, WriteTurn<'a>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, partition: u32) -> Result<MutexGuard<'_, WriteTurn<'a>>> {
        let turn = self
            .changed
            .wait_while(self.lock(), |turn| turn.of != partition && !turn.failed)
            .unwrap_or_else(PoisonError::into_inner);
        if turn.failed { Err(Error::cancelled()) } else { Ok(turn) }
    }
}

/// The thread has failed if this is dropped.
struct FailsUnlessEnded<'a, 'b>(&'a Turns<'b>);

impl Drop for FailsUnlessEnded<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().failed = true;
        self.0.changed.notify_all();
    }
}

/// What is written of a partition: at once when it is its turn, until then kept.
struct PartitionOut<'a, 'b> {
    turns: &'a Turns<'b>,
    partition: u32,
    kept: Vec<u8>,
    /// Bytes that may be kept.
    most: usize,
    reservation: Option<MemoryReservation>,
    written: u64,
}

/// Bytes of a partition that are kept at most: more gains nothing.
const MAX_KEPT: u64 = 16 << 20;

impl<'a, 'b> PartitionOut<'a, 'b> {
    fn new(turns: &'a Turns<'b>, partition: u32, threads: usize) -> Self {
        let has_turn = turns.lock().of == partition;
        let wanted = memory::piece(2 * threads as u64, MAX_KEPT) as usize;
        let reservation = if has_turn { None } else { memory::transfers().reserve(wanted) };
        let most = if reservation.is_some() { wanted } else { BLOCK_BYTES };
        Self { turns, partition, kept: Vec::new(), most, reservation, written: 0 }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        let mut turn = self.turns.lock();
        if turn.of != self.partition {
            // Who has a large record doesn't wait: the one whose turn it is may be waiting for that.
            if self.kept.len() + bytes.len() <= self.most || memory::has_large_record() {
                drop(turn);
                self.kept.extend_from_slice(bytes);
                return Ok(());
            }
            drop(turn);
            turn = self.turns.wait(self.partition)?;
        }
        if !self.kept.is_empty() {
            turn.out.write(&std::mem::take(&mut self.kept))?;
            self.reservation = None;
        }
        turn.out.write(bytes)
    }

    fn wait_for_turn(&mut self) -> Result<()> {
        self.turns.wait(self.partition).map(drop)
    }

    /// Leaves the turn to the next partition. Gives the bytes of this one.
    fn end(self) -> Result<u64> {
        let mut turn = self.turns.wait(self.partition)?;
        turn.out.write(&self.kept)?;
        turn.of += 1;
        drop(turn);
        self.turns.changed.notify_all();
        Ok(self.written)
    }
}

/// Keeps what is written while it is small, and writes it to an object of its own when it is more.
struct Out<'a> {
    place: &'a Location,
    name: String,
    most: usize,
    small: Vec<u8>,
    large: Option<Box<dyn StagedWriter>>,
}

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(large) = &mut self.large {
            return large.write(bytes);
        }
        if self.small.len() + bytes.len() <= self.most {
            self.small.extend_from_slice(bytes);
            return Ok(());
        }
        let place = self.place.join(&self.name);
        let mut large = place.store.stage(&place.key, &self.place.key)?;
        large.write(&std::mem::take(&mut self.small))?;
        large.write(bytes)?;
        self.large = Some(large);
        Ok(())
    }

    /// The object's name, or what goes with the commit record.
    fn end(self) -> Result<(String, Vec<u8>)> {
        match self.large {
            Some(large) => large.publish().map(|()| (self.name, Vec::new())),
            None => Ok((String::new(), self.small)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Shuffled, WriteOptions, write};
    use crate::error::{Error, ErrorKind, Result};
    use crate::record::block::BlockCodec;
    use crate::record::spill_store::SpillStore;
    use crate::record::{Emit, Reducer, Values};
    use crate::shuffle::run::{RunWriter, Spill};
    use crate::shuffle::spec::ShuffleSpec;
    use crate::storage::{FileStore, Location};

    const PARTITIONS: u32 = 12;

    /// Emits the values as they are; fails at a key.
    struct Passes(Option<&'static str>);

    impl Reducer for Passes {
        fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
            if self.0.is_some_and(|bad| bad.as_bytes() == key) {
                return Err(Error::permanent("it is a bad key"));
            }
            while let Some(value) = values.next()? {
                out.emit(key, value)?;
            }
            Ok(())
        }
    }

    /// Two spills: of partition p two times p² pairs, in one of them some that are large.
    fn spills(spill_store: &Arc<SpillStore>, large: bool) -> Vec<Spill> {
        let spill = |number: u32| {
            let mut writer = RunWriter::new(spill_store);
            for partition in 0..PARTITIONS {
                for i in 0..partition * partition {
                    let value = match i {
                        7 if large => vec![b'v'; 5 << 18],
                        _ => vec![b'v'; 2000 + (i * 37 % 5000) as usize],
                    };
                    writer.push(format!("{partition:02}-{i:05}-{number}").as_bytes(), &value).unwrap();
                }
                writer.end_partition().unwrap();
            }
            writer.end_spill(0, &Arc::from("a spill")).unwrap()
        };
        (0..2).map(spill).collect()
    }

    fn written(
        threads: usize,
        with_record: usize,
        large: bool,
        bad: Option<&'static str>,
    ) -> Result<(Shuffled, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        let spill_store = &SpillStore::new(1 << 20, dir.path().join("scratch"), BlockCodec::None);
        let place = Location {
            base: "file://".into(),
            key: format!("{}/", dir.path().display()),
            store: Arc::new(FileStore),
        };
        let shuffle_spec = &ShuffleSpec::default();
        let memory = 1 << 20;
        let options =
            WriteOptions { codec: BlockCodec::Lz4, threads, memory, spill_store, shuffle_spec, with_record };
        let combiner = || Some(Box::new(Passes(bad)) as Box<dyn Reducer>);
        let shuffled =
            write(&place, "shuffled".into(), &spills(spill_store, large), PARTITIONS, &options, combiner)?;
        let object = std::fs::read(dir.path().join("shuffled")).unwrap_or_default();
        Ok((shuffled, object))
    }

    #[test]
    fn however_many_threads_write_it_the_object_is_the_same() {
        for (with_record, large) in [(0, false), (1 << 30, false), (0, true)] {
            let (one, object) = written(1, with_record, large, None).unwrap();
            assert_eq!((object.is_empty(), one.data.is_empty()), (with_record > 0, with_record == 0));
            let records: Vec<u64> = one.object.extents.iter().map(|extent| extent.records).collect();
            assert_eq!(records, (0..u64::from(PARTITIONS)).map(|p| 2 * p * p).collect::<Vec<_>>());
            for threads in [2, 40] {
                let (many, others) = written(threads, with_record, large, None).unwrap();
                assert_eq!(many.object, one.object);
                assert!(many.data == one.data && others == object);
                assert_eq!(
                    (many.combined.input, many.combined.output),
                    (one.combined.input, one.combined.output)
                );
            }
        }
    }

    #[test]
    fn a_partition_that_fails_is_what_the_error_says_and_nobody_waits_for_it() {
        for threads in [1, 3] {
            for bad in ["01-00000-0", "05-00003-1", "11-00120-1"] {
                let error = written(threads, 0, false, Some(bad)).unwrap_err();
                assert_eq!(
                    (error.kind(), error.to_string().as_str()),
                    (ErrorKind::Permanent, "it is a bad key")
                );
            }
        }
    }
}
