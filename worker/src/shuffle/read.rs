//! Reads a run, pair by pair: from its blocks, or where it was sorted.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block::{HEADER, Header, Span, record_at};
use super::radix::prefix;
use super::run::{Place, Run};
use super::sort::{Ahead, Sorted};
use super::space::Kept;
use crate::error::{Error, Result};

/// Reads a run, pair by pair.
#[derive(Debug)]
pub struct RunReader {
    name: Arc<str>,
    source: Source,
    span: Span,
    /// The current key's first 8 bytes, as a number that sorts as they do.
    prefix: u64,
}

#[derive(Debug)]
enum Source {
    Blocks(Blocks),
    Sorted(Sorted, Box<Ahead>),
}

impl RunReader {
    /// A reader before the run's first record.
    pub fn new(run: Run) -> Self {
        let source = match run.pairs {
            Place::Blocks(pieces) => Source::Blocks(Blocks::new(pieces)),
            Place::Sorted(sorted) => Source::Sorted(sorted, Box::default()),
        };
        Self { name: run.name, source, span: Span::default(), prefix: 0 }
    }

    /// Goes to the next record; false at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        let span = match &mut self.source {
            Source::Blocks(blocks) => blocks.next(self.span),
            Source::Sorted(sorted, ahead) => sorted.next(ahead),
        };
        let Some(span) = span.map_err(|e| e.context(format!("can't read {}", self.name)))? else {
            return Ok(false);
        };
        self.span = span;
        self.prefix = prefix(self.key());
        Ok(true)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Blocks(blocks) => blocks.block(),
            Source::Sorted(sorted, _) => sorted.arena(),
        }
    }

    /// The current record's key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.bytes()[self.span.key..self.span.value]
    }

    /// The current record's value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        &self.bytes()[self.span.value..self.span.end]
    }

    /// The current key's first 8 bytes, as a number that sorts as they do.
    #[inline]
    pub fn prefix(&self) -> u64 {
        self.prefix
    }
}

/// Reads blocks, one after the other.
#[derive(Debug)]
struct Blocks {
    /// What is still to be read, the current piece first.
    pieces: VecDeque<Kept>,
    at: u64,
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// Where the decoded block is.
    block: Block,
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

impl Blocks {
    fn new(pieces: Vec<Kept>) -> Self {
        Self { pieces: pieces.into(), at: 0, stored: Vec::new(), raw: Vec::new(), block: Block::Raw }
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

    /// The record behind this one.
    #[inline]
    fn next(&mut self, span: Span) -> Result<Option<Span>> {
        if span.end < self.block().len() {
            return record_at(self.block(), span.end).map(Some);
        }
        if self.next_block()? { record_at(self.block(), 0).map(Some) } else { Ok(None) }
    }

    fn next_block(&mut self) -> Result<bool> {
        self.block = Block::Raw;
        self.raw.clear();
        while let Some(piece) = self.pieces.front() {
            if self.at < piece.len() {
                return self.decode().map(|()| true);
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
                return Err(Error::retry("intermediate data ends too early"));
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
}
