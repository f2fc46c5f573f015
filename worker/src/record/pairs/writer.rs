//! Writes pairs, block by block.

use super::PairsObject;
use super::local::LocalPairsWriter;
use crate::error::Result;
use crate::memory::LARGE_RECORD;
use crate::record::Emit;
use crate::record::block::{BlockCodec, BlockWriter, large_block_start, large_block_start_by_pieces};
use crate::scratch::ScratchBytes;
use crate::storage::StagedWriter;

/// Offsets that a commit record holds at most: where there are more blocks, every second offset is
/// dropped.
const MAX_CUTS: usize = 256;

/// Where the blocks go.
pub(super) enum PairsSink {
    Stored(Box<dyn StagedWriter>),
    Local(LocalPairsWriter),
}

/// Writes an object of pairs. Dropped before its end, it leaves nothing.
pub struct PairsWriter {
    object: PairsObject,
    cuts: BlockOffsets,
    blocks: BlockWriter,
    encoded: Vec<u8>,
    sink: PairsSink,
}

impl std::fmt::Debug for PairsWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PairsWriter").field("name", &self.object.name).finish_non_exhaustive()
    }
}

impl PairsWriter {
    pub(super) fn new(name: String, codec: BlockCodec, sink: PairsSink) -> Self {
        Self {
            object: PairsObject { name, ..PairsObject::default() },
            cuts: BlockOffsets { kept: Vec::new(), every: 1, blocks: 0 },
            blocks: BlockWriter::new(codec),
            encoded: Vec::new(),
            sink,
        }
    }

    fn end_block(&mut self) -> Result<()> {
        self.blocks.end(&mut self.encoded)?;
        if self.encoded.is_empty() {
            return Ok(());
        }
        self.cuts.push(self.object.bytes);
        let mut encoded = std::mem::take(&mut self.encoded);
        self.write(&encoded)?;
        encoded.clear();
        self.encoded = encoded;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.object.bytes += bytes.len() as u64;
        match &mut self.sink {
            PairsSink::Stored(writer) => writer.write(bytes),
            PairsSink::Local(writer) => writer.write(bytes),
        }
    }

    /// Begins the block of a large pair, which is written from where it is and not compressed: that would take twice its
    /// memory.
    fn begin_large(&mut self, start: &[u8], key: &[u8]) -> Result<()> {
        self.end_block()?;
        self.object.records += 1;
        self.cuts.push(self.object.bytes);
        self.write(start)?;
        self.write(key)
    }

    /// Ends the object: now it is there.
    pub fn finish(mut self) -> Result<PairsObject> {
        self.end_block()?;
        match self.sink {
            PairsSink::Stored(writer) => writer.publish()?,
            PairsSink::Local(writer) => writer.publish(&self.object.name)?,
        }
        Ok(PairsObject { cuts: self.cuts.kept, ..self.object })
    }
}

impl Emit for PairsWriter {
    #[inline]
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.len() + value.len() >= LARGE_RECORD {
            self.begin_large(&large_block_start(key, value)?, key)?;
            return self.write(value);
        }
        self.object.records += 1;
        if self.blocks.push(key, value) { self.end_block() } else { Ok(()) }
    }

    fn emit_large(&mut self, key: &[u8], value: &ScratchBytes) -> Result<()> {
        let start = large_block_start_by_pieces(key, value.len(), |take| value.each_piece(take))?;
        self.begin_large(&start, key)?;
        value.each_piece(&mut |piece| self.write(piece))
    }
}

/// The offsets of every so manieth block.
struct BlockOffsets {
    kept: Vec<u64>,
    every: usize,
    blocks: usize,
}

impl BlockOffsets {
    fn push(&mut self, offset: u64) {
        if self.blocks.is_multiple_of(self.every) {
            if self.kept.len() == MAX_CUTS {
                let mut even = false;
                self.kept.retain(|_| {
                    even = !even;
                    even
                });
                self.every *= 2;
            }
            if self.blocks.is_multiple_of(self.every) {
                self.kept.push(offset);
            }
        }
        self.blocks += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockOffsets, MAX_CUTS};

    #[test]
    fn of_many_blocks_evenly_spread_ones_are_remembered() {
        let mut cuts = BlockOffsets { kept: Vec::new(), every: 1, blocks: 0 };
        for offset in 0..3 * MAX_CUTS as u64 {
            cuts.push(offset);
        }
        let expected: Vec<u64> = (0..3 * MAX_CUTS as u64).step_by(4).collect();
        assert_eq!(cuts.kept, expected);
    }
}
