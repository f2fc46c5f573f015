//! Runs: sorted pairs of one partition, kept somewhere.

use std::sync::Arc;

use super::sort::Sorted;
use crate::error::Result;
use crate::record::block::{BlockCodec, BlockWriter};
use crate::record::pieces::PieceWriter;
use crate::record::space::{Kept, Space};

/// A run of one partition.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where its pairs are.
    pub pairs: Place,
    /// Number of pairs.
    pub records: u64,
    /// Where it came from, for errors.
    pub name: Arc<str>,
}

/// Where a run's pairs are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In blocks, one after the other: see [`pieces`](super::pieces).
    Blocks(Vec<Kept>),
    /// Where they were sorted.
    Sorted(Sorted),
}

impl Run {
    /// Bytes, as kept.
    pub fn bytes(&self) -> u64 {
        match &self.pairs {
            Place::Blocks(pieces) => pieces.iter().map(Kept::len).sum(),
            Place::Sorted(sorted) => sorted.bytes(),
        }
    }
}

/// Writes a run into a [`Space`], compressed as the space wants it.
#[derive(Debug)]
pub struct RunWriter {
    blocks: BlockWriter,
    pieces: PieceWriter,
    records: u64,
}

impl RunWriter {
    /// A writer of runs. It can write several, one after the other.
    pub fn new(space: &Arc<Space>) -> Self {
        Self { blocks: BlockWriter::new(BlockCodec::None), pieces: PieceWriter::new(space), records: 0 }
    }

    /// Appends a pair.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.records += 1;
        if self.blocks.push(key, value) {
            self.blocks.compress_by(self.pieces.space().codec());
            self.pieces.append(|out| self.blocks.end(out))?;
        }
        Ok(())
    }

    /// Ends the run.
    pub fn end(&mut self, name: &Arc<str>) -> Result<Run> {
        self.blocks.compress_by(self.pieces.space().codec());
        let pairs = Place::Blocks(self.pieces.finish(|out| self.blocks.end(out))?);
        Ok(Run { pairs, records: std::mem::take(&mut self.records), name: Arc::clone(name) })
    }
}
