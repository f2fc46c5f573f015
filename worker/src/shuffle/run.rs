//! Runs: sorted pairs of one partition, kept somewhere, read a block at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{BlockCodec, BlockWriter, HEADER, Header, Span, record_at};
use super::radix::prefix;
use super::space::{Kept, Space};
use crate::error::Result;

/// A run of one partition.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its blocks: stretches of whole blocks, in order.
    pub pieces: Vec<Kept>,
    /// Number of pairs.
    pub records: u64,
    /// Where it came from, for errors.
    pub name: Arc<str>,
}

impl Run {
    /// Bytes, as kept.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(Kept::len).sum()
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
        Ok(Run { pieces: std::mem::take(&mut self.pieces), records, name: Arc::clone(name) })
    }
}

/// Reads a run, record by record.
#[derive(Debug)]
pub struct RunReader {
    name: Arc<str>,
    /// What is still to be read, the current piece first.
    pieces: VecDeque<Kept>,
    at: u64,
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// Where the decoded block is.
    block: Block,
    span: Span,
    /// The current key's first 8 bytes, as a number that sorts as they do.
    prefix: u64,
}

#[derive(Clone, Copy, Debug)]
enum Block {
    /// In `raw`.
    Raw,
    /// In `stored`.
    Stored,
    /// In the piece itself, which is in memory: `at` on, `len` bytes.
    Piece { at: usize, len: usize },
}

impl RunReader {
    /// A reader before the run's first record.
    pub fn new(run: Run) -> Self {
        Self {
            name: run.name,
            pieces: run.pieces.into(),
            at: 0,
            stored: Vec::new(),
            raw: Vec::new(),
            block: Block::Raw,
            span: Span::default(),
            prefix: 0,
        }
    }

    #[inline]
    fn block(&self) -> &[u8] {
        match self.block {
            Block::Raw => &self.raw,
            Block::Stored => &self.stored,
            Block::Piece { at, len } => match &self.pieces[0] {
                Kept::Memory(loan) => &loan.bytes()[at..at + len],
                Kept::File { .. } => &[],
            },
        }
    }

    /// Goes to the next record; false at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        if self.span.end == self.block().len() && !self.next_block()? {
            return Ok(false);
        }
        self.span = record_at(self.block(), self.span.end).map_err(|e| self.named(e))?;
        self.prefix = prefix(self.key());
        Ok(true)
    }

    fn next_block(&mut self) -> Result<bool> {
        self.span = Span::default();
        self.block = Block::Raw;
        self.raw.clear();
        while let Some(piece) = self.pieces.front() {
            if self.at < piece.len() {
                return self.decode().map(|()| true).map_err(|e| self.named(e));
            }
            // What has been read is given back at once.
            self.pieces.pop_front();
            self.at = 0;
        }
        Ok(false)
    }

    fn decode(&mut self) -> Result<()> {
        let piece = &self.pieces[0];
        let mut header = [0; HEADER];
        piece.read_at(&mut header, self.at)?;
        let header = Header::parse(&header)?;
        let from = self.at + HEADER as u64;
        let stored = header.stored as usize;
        self.at = from + stored as u64;
        if let Kept::Memory(loan) = piece {
            let Some(payload) = loan.bytes().get(from as usize..from as usize + stored) else {
                return Err(crate::error::Error::retry("intermediate data ends too early"));
            };
            let decoded = header.decode(payload, &mut self.raw)?;
            self.block = if std::ptr::eq(decoded, payload) {
                Block::Piece { at: from as usize, len: stored }
            } else {
                Block::Raw
            };
        } else {
            self.stored.resize(stored, 0);
            piece.read_at(&mut self.stored, from)?;
            let as_it_is = header.decode(&self.stored, &mut self.raw)?.as_ptr() == self.stored.as_ptr();
            self.block = if as_it_is { Block::Stored } else { Block::Raw };
        }
        Ok(())
    }

    fn named(&self, error: crate::error::Error) -> crate::error::Error {
        error.context(format!("can't read {}", self.name))
    }

    /// The current record's key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.block()[self.span.key..self.span.value]
    }

    /// The current record's value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        &self.block()[self.span.value..self.span.end]
    }

    /// The current key's first 8 bytes, as a number that sorts as they do.
    #[inline]
    pub fn prefix(&self) -> u64 {
        self.prefix
    }
}
