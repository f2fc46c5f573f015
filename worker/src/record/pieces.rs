//! Bytes that are written one after the other into a [`Space`], and read in that order: blocks of runs, and
//! of pairs between steps.
//!
//! ```text
//!  bytes ──> PieceWriter ── 4 MiB ──> Kept, Kept, … ── stretch ──> Pieces ──> bytes
//! ```
//!
//! What is written at once, a block say, may begin in one piece and end in another: a fetch cuts it anywhere.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use super::block::BLOCK_BYTES;
use super::space::{Kept, Space};
use crate::error::{Error, Result};

/// Bytes that are collected before they are handed to the [`Space`].
pub const PIECE_BYTES: usize = 4 << 20;

/// Collects bytes into pieces.
#[derive(Debug)]
pub struct PieceWriter {
    buffer: Vec<u8>,
    pieces: Vec<Kept>,
    space: Arc<Space>,
}

impl PieceWriter {
    /// A writer. It can make several lists of pieces, one after the other.
    pub fn new(space: &Arc<Space>) -> Self {
        Self { buffer: Vec::new(), pieces: Vec::new(), space: Arc::clone(space) }
    }

    /// Where pieces go.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Adds what `write` appends, where more is to come.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        if self.buffer.capacity() == 0 {
            // At once: growing would copy, and leave what it grew out of behind.
            self.buffer.reserve_exact(PIECE_BYTES + 2 * BLOCK_BYTES);
        }
        write(&mut self.buffer)?;
        if self.buffer.len() >= PIECE_BYTES { self.keep() } else { Ok(()) }
    }

    /// Adds what `write` appends, and gives all pieces.
    pub fn finish(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Vec<Kept>> {
        write(&mut self.buffer)?;
        if !self.buffer.is_empty() {
            self.keep()?;
        }
        Ok(std::mem::take(&mut self.pieces))
    }

    fn keep(&mut self) -> Result<()> {
        self.pieces.push(self.space.keep(&mut self.buffer)?);
        Ok(())
    }
}

/// The bytes of a range of pieces.
pub fn stretch(pieces: &[Kept], range: &Range<u64>) -> Vec<Kept> {
    let mut end = 0;
    let slice = |piece: &Kept| {
        let start = end;
        end += piece.len();
        let slice = piece.slice(range.start.saturating_sub(start)..range.end.saturating_sub(start));
        (!slice.is_empty()).then_some(slice)
    };
    pieces.iter().filter_map(slice).collect()
}

/// Reads pieces, and gives back at once those that have been read.
#[derive(Debug)]
pub struct Pieces {
    /// What is still to be read, the current piece first.
    pieces: VecDeque<Kept>,
    /// Where in the current piece.
    at: u64,
}

impl Pieces {
    /// A reader before the first byte.
    pub fn new(pieces: Vec<Kept>) -> Self {
        Self { pieces: pieces.into(), at: 0 }
    }

    /// Whether all has been read. What [`Self::take`] has given is given back.
    pub fn is_at_end(&mut self) -> bool {
        while self.pieces.front().is_some_and(|piece| self.at >= piece.len()) {
            self.pieces.pop_front();
            self.at = 0;
        }
        self.pieces.is_empty()
    }

    /// Takes the next bytes where they are: a place for [`Self::taken`], if they are in memory in one piece.
    pub fn take(&mut self, bytes: usize) -> Option<Range<usize>> {
        if self.is_at_end() {
            return None;
        }
        let range = self.at as usize..self.at as usize + bytes;
        self.pieces[0].in_memory()?.get(range.clone())?;
        self.at += bytes as u64;
        Some(range)
    }

    /// The bytes that were taken, until more are read.
    #[inline]
    pub fn taken(&self, range: Range<usize>) -> &[u8] {
        let piece = self.pieces.front().and_then(Kept::in_memory);
        piece.and_then(|piece| piece.get(range)).unwrap_or_default()
    }

    /// Fills `buf` with the next bytes; an error when there are not so many.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<()> {
        self.read_exact(buf).map_err(cut_short)
    }
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_at_end() {
            return Ok(0);
        }
        let piece = &self.pieces[0];
        let here = buf.len().min((piece.len() - self.at) as usize);
        piece.read_at(&mut buf[..here], self.at)?;
        self.at += here as u64;
        Ok(here)
    }
}

/// The error of a reader of intermediate data that has come to an end too early, or of another that it met.
pub fn cut_short(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Error::retry("intermediate data ends too early");
    }
    error.into()
}
