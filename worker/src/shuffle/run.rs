//! Runs: sorted pairs of one partition, kept somewhere.
//!
//! A flush of a map task makes a run of each partition. They are kept together, as a [`Spill`]: of ten thousand
//! partitions each is a few pairs, and what is said of it must not be more than they are.
//!
//! ```text
//!  spill   │ run of partition 0 │ run of partition 1 │ …        blocks, or pairs where they were sorted
//!  ends                         ^                    ^          of each: where it ends, and how much is in it;
//!                                                               of many partitions it is kept as the pairs are
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::sort::{SortedRun, SortedSpill};
use crate::error::Result;
use crate::record::block::{BLOCK_BYTES, BlockCodec, BlockWriter, large_block_start};
use crate::record::segment::Segment;
use crate::record::segments::{SegmentWriter, segments_in};
use crate::record::spill_store::SpillStore;

/// A run of one partition.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where its pairs are.
    pub pairs: RunData,
    /// Number of pairs.
    pub records: u64,
    /// Whether it may have pairs that wait for memory when they are read: see [`large_record`](crate::memory::large_record).
    pub may_have_large_pairs: bool,
    /// Where it came from, for errors.
    pub name: Arc<str>,
}

/// Where a run's pairs are.
#[derive(Clone, Debug)]
pub enum RunData {
    /// In blocks, one after the other: see [`segments`](crate::record::segments).
    Blocks(Vec<Segment>),
    /// Where they were sorted.
    Sorted(SortedRun),
}

impl Run {
    /// Bytes, as kept.
    pub fn bytes(&self) -> u64 {
        match &self.pairs {
            RunData::Blocks(segments) => segments.iter().map(Segment::len).sum(),
            RunData::Sorted(sorted) => sorted.bytes(),
        }
    }

    /// Whether it is a large pair alone: to read it takes no memory until it is its turn.
    pub fn is_large_pair(&self) -> bool {
        self.records == 1 && matches!(self.pairs, RunData::Blocks(_)) && self.bytes() > BLOCK_BYTES as u64
    }
}

/// The runs that a flush has made of some neighbouring partitions.
#[derive(Clone, Debug)]
pub struct Spill {
    pairs: SpillData,
    /// The first of the partitions.
    first: u32,
    name: Arc<str>,
}

#[derive(Clone, Debug)]
enum SpillData {
    Blocks { segments: Vec<Segment>, ends: RunEnds, records: u64, has_large_pairs: bool },
    Sorted(SortedSpill),
}

/// Of each partition: where its blocks end, and the number of its pairs.
#[derive(Clone, Debug)]
enum RunEnds {
    Few(Arc<[RunEnd]>),
    /// One after the other, as [`RunEnd::encode`] writes them.
    Kept(Segment),
}

/// Partitions whose ends take no more memory than what else is said of a spill.
const FEW: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct RunEnd {
    at: u64,
    records: u64,
}

/// Bytes that say where one of many partitions is in a spill.
pub const RUN_END_BYTES: usize = 16;

impl RunEnd {
    fn encode(self) -> [u8; RUN_END_BYTES] {
        let mut bytes = [0; RUN_END_BYTES];
        bytes[..8].copy_from_slice(&self.at.to_le_bytes());
        bytes[8..].copy_from_slice(&self.records.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let mut numbers = bytes.chunks_exact(8).map(|eight| {
            let mut number = [0; 8];
            number.copy_from_slice(eight);
            u64::from_le_bytes(number)
        });
        let mut next = || numbers.next().unwrap_or_default();
        Self { at: next(), records: next() }
    }
}

impl RunEnds {
    fn new(ends: &[RunEnd], spill_store: &Arc<SpillStore>) -> Result<Self> {
        if ends.len() <= FEW {
            return Ok(Self::Few(ends.into()));
        }
        let mut bytes: Vec<u8> = ends.iter().flat_map(|end| end.encode()).collect();
        spill_store.keep(&mut bytes).map(Self::Kept)
    }

    /// Where the run of a partition is, and the number of its pairs.
    fn get(&self, i: usize) -> Result<Option<(Range<u64>, u64)>> {
        // The one before says where it begins.
        let mut pair = [RunEnd::default(); 2];
        let first = i.saturating_sub(1);
        let found = &mut pair[usize::from(i == 0)..];
        match self {
            Self::Few(ends) if i < ends.len() => found.copy_from_slice(&ends[first..=i]),
            Self::Kept(kept) if i < kept.len() as usize / RUN_END_BYTES => {
                let mut bytes = [0; 2 * RUN_END_BYTES];
                let bytes = &mut bytes[..found.len() * RUN_END_BYTES];
                kept.read_at(bytes, (first * RUN_END_BYTES) as u64)?;
                for (end, bytes) in found.iter_mut().zip(bytes.chunks_exact(RUN_END_BYTES)) {
                    *end = RunEnd::decode(bytes);
                }
            }
            _ => return Ok(None),
        }
        let [before, end] = pair;
        Ok(Some((before.at..end.at, end.records)))
    }
}

impl Spill {
    /// Pairs of all partitions that stay where they were sorted.
    pub fn sorted(pairs: SortedSpill, name: &Arc<str>) -> Self {
        Self { pairs: SpillData::Sorted(pairs), first: 0, name: Arc::clone(name) }
    }

    /// The run of a partition, if it has pairs here. Space in a scratch file is given back when it is read: it is
    /// to be asked for once.
    pub fn run(&self, partition: u32) -> Result<Option<Run>> {
        let Some(i) = partition.checked_sub(self.first) else { return Ok(None) };
        let (mut may_have_large_pairs, name) = (false, Arc::clone(&self.name));
        let (pairs, records) = match &self.pairs {
            SpillData::Blocks { segments, ends, has_large_pairs, .. } => {
                may_have_large_pairs = *has_large_pairs;
                let Some((bytes, records)) = ends.get(i as usize)? else { return Ok(None) };
                let parts = if records > 0 { segments_in(segments, &bytes) } else { Vec::new() };
                (RunData::Blocks(parts.iter().map(Segment::apart).collect()), records)
            }
            SpillData::Sorted(spill) => {
                let Some(sorted) = spill.part(i as usize) else { return Ok(None) };
                let records = sorted.records();
                (RunData::Sorted(sorted), records)
            }
        };
        Ok((records > 0).then_some(Run { pairs, records, may_have_large_pairs, name }))
    }

    /// The runs of a partition that these spills have, in their order.
    pub fn runs<'a>(spills: impl IntoIterator<Item = &'a Self>, partition: u32) -> Result<Vec<Run>> {
        spills.into_iter().filter_map(|spill| spill.run(partition).transpose()).collect()
    }

    /// Number of pairs.
    pub fn records(&self) -> u64 {
        match &self.pairs {
            SpillData::Blocks { records, .. } => *records,
            SpillData::Sorted(spill) => spill.records(),
        }
    }

    /// Bytes, as kept.
    pub fn bytes(&self) -> u64 {
        match &self.pairs {
            SpillData::Blocks { segments, .. } => segments.iter().map(Segment::len).sum(),
            SpillData::Sorted(spill) => spill.bytes(),
        }
    }
}

/// Writes runs into a [`SpillStore`], compressed as the space wants it.
#[derive(Debug)]
pub struct RunWriter {
    blocks: BlockWriter,
    segments: SegmentWriter,
    records: u64,
    has_large_pairs: bool,
    ends: Vec<RunEnd>,
}

impl RunWriter {
    /// A writer of runs. It can write several, one after the other.
    pub fn new(spill_store: &Arc<SpillStore>) -> Self {
        let blocks = BlockWriter::new(BlockCodec::None);
        let segments = SegmentWriter::new(spill_store);
        Self { blocks, segments, records: 0, has_large_pairs: false, ends: Vec::new() }
    }

    /// Appends a pair.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.records += 1;
        if key.len() + value.len() >= BLOCK_BYTES {
            return self.push_large(key, value);
        }
        if self.blocks.push(key, value) { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<()> {
        self.blocks.compress_by(self.segments.spill_store().codec());
        self.segments.append(|out| self.blocks.end(out))
    }

    /// A large pair has a block to itself, which is written from where the pair is.
    #[cold]
    fn push_large(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.end_block()?;
        self.has_large_pairs = true;
        self.segments.append_parts(&[&large_block_start(key, value)?, key, value])
    }

    /// Ends a run of the next partition; it may have no pairs.
    pub fn end_partition(&mut self) -> Result<()> {
        self.end_block()?;
        self.ends.push(RunEnd { at: self.segments.bytes(), records: std::mem::take(&mut self.records) });
        Ok(())
    }

    /// Ends the runs of the partitions from `first` on.
    pub fn end_spill(&mut self, first: u32, name: &Arc<str>) -> Result<Spill> {
        let segments = self.segments.finish()?;
        let records = self.ends.iter().map(|end| end.records).sum();
        let ends = RunEnds::new(&std::mem::take(&mut self.ends), self.segments.spill_store())?;
        let has_large_pairs = std::mem::take(&mut self.has_large_pairs);
        let pairs = SpillData::Blocks { segments, ends, records, has_large_pairs };
        Ok(Spill { pairs, first, name: Arc::clone(name) })
    }

    /// Ends the run.
    pub fn end(&mut self, name: &Arc<str>) -> Result<Run> {
        self.end_block()?;
        let pairs = RunData::Blocks(self.segments.finish()?);
        let records = std::mem::take(&mut self.records);
        let may_have_large_pairs = std::mem::take(&mut self.has_large_pairs);
        Ok(Run { pairs, records, may_have_large_pairs, name: Arc::clone(name) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FEW, RunWriter, Spill};
    use crate::record::block::BlockCodec;
    use crate::record::spill_store::SpillStore;

    #[test]
    fn what_is_said_of_many_partitions_is_kept_where_the_pairs_are() {
        for partitions in [1, FEW, FEW + 1, 3000] {
            for memory in [0, 1 << 20] {
                let dir = tempfile::tempdir().unwrap();
                let spill_store = SpillStore::new(memory, dir.path().to_owned(), BlockCodec::None);
                let mut writer = RunWriter::new(&spill_store);
                for partition in 0..partitions {
                    // Every third is empty.
                    (0..partition % 3).for_each(|i| writer.push(&[i as u8], b"value").unwrap());
                    writer.end_partition().unwrap();
                }
                let spill = writer.end_spill(5, &Arc::from("a spill")).unwrap();
                let all: usize = (0..partitions).map(|partition| partition % 3).sum();
                assert_eq!(spill.records(), all as u64);
                let kept = spill.bytes() + if partitions > FEW { 16 * partitions as u64 } else { 0 };
                assert_eq!(spill_store.spilled(), if memory == 0 { kept } else { 0 });
                let records = |partition: u32| Some(spill.run(partition).unwrap()?.records);
                for partition in 0..partitions {
                    let expected = partition % 3;
                    let run = spill.run(partition as u32 + 5).unwrap();
                    assert_eq!(run.as_ref().map_or(0, |run| run.records), expected as u64);
                    assert_eq!(run.is_some_and(|run| run.bytes() > 0), expected > 0);
                }
                assert_eq!((records(4), records(5 + partitions as u32)), (None, None));
                assert_eq!(Spill::runs([&spill, &spill], 5).unwrap().len(), 0);
            }
        }
    }
}
