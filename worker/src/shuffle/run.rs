//! Runs: sorted pairs of one partition, kept somewhere.

use std::sync::Arc;

use super::block::{BLOCK_BYTES, BlockCodec, BlockWriter};
use super::sort::Sorted;
use super::space::{Kept, Space};
use crate::error::Result;

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
    /// In blocks, one after the other; a block may begin in one piece and end in another.
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

/// Bytes of blocks that are collected before they are handed to the [`Space`].
const PIECE_BYTES: usize = 4 << 20;

/// Writes a run into a [`Space`].
#[derive(Debug)]
pub struct RunWriter {
    blocks: BlockWriter,
    out: Vec<u8>,
    pieces: Vec<Kept>,
    records: u64,
    space: Arc<Space>,
}

impl RunWriter {
    /// A writer of runs. It can write several, one after the other.
    pub fn new(space: &Arc<Space>, codec: BlockCodec) -> Self {
        Self {
            blocks: BlockWriter::new(codec),
            out: Vec::new(),
            pieces: Vec::new(),
            records: 0,
            space: Arc::clone(space),
        }
    }

    /// Appends a pair.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.records += 1;
        if self.blocks.push(key, value) {
            if self.out.capacity() == 0 {
                // At once: growing would copy, and leave what it grew out of behind.
                self.out.reserve_exact(PIECE_BYTES + 2 * BLOCK_BYTES);
            }
            self.blocks.end(&mut self.out)?;
            if self.out.len() >= PIECE_BYTES {
                self.pieces.push(self.space.keep(&mut self.out)?);
            }
        }
        Ok(())
    }

    /// Ends the run.
    pub fn end(&mut self, name: &Arc<str>) -> Result<Run> {
        self.blocks.end(&mut self.out)?;
        if !self.out.is_empty() {
            self.pieces.push(self.space.keep(&mut self.out)?);
        }
        let records = std::mem::take(&mut self.records);
        let pairs = Place::Blocks(std::mem::take(&mut self.pieces));
        Ok(Run { pairs, records, name: Arc::clone(name) })
    }
}
