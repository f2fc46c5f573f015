//! Runs: sorted pairs of one partition, kept somewhere.
//!
//! A flush of a map task makes a run of each partition. They are kept together, as a [`Spill`]: of ten thousand
//! partitions each is a few pairs, and what is said of it must not be more than they are.
//!
//! ```text
//!  spill   │ run of partition 0 │ run of partition 1 │ …        blocks, or pairs where they were sorted
//!  ends                         ^                    ^          of each: where it ends, and how much is in it
//! ```

use std::sync::Arc;

use super::sort::{SortedRun, SortedSpill};
use crate::error::Result;
use crate::record::block::{BLOCK_BYTES, BlockCodec, BlockWriter, large_block_start};
use crate::record::segments::{SegmentWriter, segments_in};
use crate::record::spill_store::{Segment, SpillStore};

/// A run of one partition.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where its pairs are.
    pub pairs: RunData,
    /// Number of pairs.
    pub records: u64,
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
    Blocks {
        segments: Vec<Segment>,
        /// Of each partition: where its blocks end, and the number of its pairs.
        ends: Arc<[(u64, u64)]>,
    },
    Sorted(SortedSpill),
}

impl Spill {
    /// Pairs of all partitions that stay where they were sorted.
    pub fn sorted(pairs: SortedSpill, name: &Arc<str>) -> Self {
        Self { pairs: SpillData::Sorted(pairs), first: 0, name: Arc::clone(name) }
    }

    /// The run of a partition, if it has pairs here. Space in a scratch file is given back when it is read: it is
    /// to be asked for once.
    pub fn run(&self, partition: u32) -> Option<Run> {
        let i = partition.checked_sub(self.first)? as usize;
        let (pairs, records) = match &self.pairs {
            SpillData::Blocks { segments, ends } => {
                let &(end, records) = ends.get(i)?;
                let start = i.checked_sub(1).map_or(0, |before| ends[before].0);
                let parts = if records > 0 { segments_in(segments, &(start..end)) } else { Vec::new() };
                (RunData::Blocks(parts.iter().map(Segment::apart).collect()), records)
            }
            SpillData::Sorted(spill) => {
                let sorted = spill.part(i)?;
                let records = sorted.records();
                (RunData::Sorted(sorted), records)
            }
        };
        (records > 0).then(|| Run { pairs, records, name: Arc::clone(&self.name) })
    }

    /// Number of pairs.
    pub fn records(&self) -> u64 {
        match &self.pairs {
            SpillData::Blocks { ends, .. } => ends.iter().map(|&(_, records)| records).sum(),
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
    ends: Vec<(u64, u64)>,
}

impl RunWriter {
    /// A writer of runs. It can write several, one after the other.
    pub fn new(spill_store: &Arc<SpillStore>) -> Self {
        let blocks = BlockWriter::new(BlockCodec::None);
        Self { blocks, segments: SegmentWriter::new(spill_store), records: 0, ends: Vec::new() }
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
        self.segments.append_parts(&[&large_block_start(key, value)?, value])
    }

    /// Ends a run of the next partition; it may have no pairs.
    pub fn end_partition(&mut self) -> Result<()> {
        self.end_block()?;
        self.ends.push((self.segments.bytes(), std::mem::take(&mut self.records)));
        Ok(())
    }

    /// Ends the runs of the partitions from `first` on.
    pub fn end_spill(&mut self, first: u32, name: &Arc<str>) -> Result<Spill> {
        let ends = std::mem::take(&mut self.ends).into();
        let pairs = SpillData::Blocks { segments: self.segments.finish()?, ends };
        Ok(Spill { pairs, first, name: Arc::clone(name) })
    }

    /// Ends the run.
    pub fn end(&mut self, name: &Arc<str>) -> Result<Run> {
        self.end_block()?;
        let pairs = RunData::Blocks(self.segments.finish()?);
        Ok(Run { pairs, records: std::mem::take(&mut self.records), name: Arc::clone(name) })
    }
}
