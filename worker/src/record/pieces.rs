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

/// Bytes that are collected before they are handed to the [`Space`], if it is not small.
pub const PIECE_BYTES: usize = 4 << 20;

/// Collects bytes into pieces.
#[derive(Debug)]
pub struct PieceWriter {
    buffer: Vec<u8>,
    pieces: Vec<Kept>,
    /// Their bytes.
    kept: u64,
    /// Bytes of a piece, about.
    piece_bytes: usize,
    space: Arc<Space>,
}

impl PieceWriter {
    /// A writer. It can make several lists of pieces, one after the other.
    pub fn new(space: &Arc<Space>) -> Self {
        Self {
            buffer: Vec::new(),
            pieces: Vec::new(),
            kept: 0,
            piece_bytes: space.piece_bytes(),
            space: Arc::clone(space),
        }
    }

    /// Where pieces go.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Bytes since the last list of pieces.
    pub fn bytes(&self) -> u64 {
        self.kept + self.buffer.len() as u64
    }

    /// Adds what `write` appends.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        if self.buffer.capacity() == 0 {
            // At once: growing would copy, and leave what it grew out of behind.
            self.buffer.reserve_exact(self.piece_bytes + 2 * BLOCK_BYTES);
        }
        write(&mut self.buffer)?;
        if self.buffer.len() >= self.piece_bytes { self.keep() } else { Ok(()) }
    }

    /// Adds these bytes, which are so many that they are a piece of their own.
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.keep()?;
        let piece = self.space.keep_parts(parts)?;
        self.kept += piece.len();
        self.pieces.push(piece);
        Ok(())
    }

    /// Gives all pieces.
    pub fn finish(&mut self) -> Result<Vec<Kept>> {
        self.keep()?;
        self.kept = 0;
        Ok(std::mem::take(&mut self.pieces))
    }

    fn keep(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.kept += self.buffer.len() as u64;
            self.pieces.push(self.space.keep(&mut self.buffer)?);
        }
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

    /// Fills `buf` with bytes that are still to be read, from the one at `at` on, without reading them.
    pub fn peek(&self, mut at: u64, mut buf: &mut [u8]) -> Result<()> {
        at += self.at;
        for piece in &self.pieces {
            if at >= piece.len() {
                at -= piece.len();
                continue;
            }
            let here = buf.len().min((piece.len() - at) as usize);
            let (now, later) = buf.split_at_mut(here);
            piece.read_at(now, at)?;
            (buf, at) = (later, 0);
            if buf.is_empty() {
                break;
            }
        }
        if buf.is_empty() { Ok(()) } else { Err(cut_short(io::ErrorKind::UnexpectedEof.into())) }
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
