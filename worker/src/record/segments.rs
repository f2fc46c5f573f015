//! Bytes that are written one after the other into a [`SpillStore`], and read in that order: blocks of runs, and
//! of pairs between steps.
//!
//! ```text
//!  bytes ──> SegmentWriter ── 4 MiB ──> Segment, Segment, … ── segments_in ──> SegmentReader ──> bytes
//! ```
//!
//! What is written at once, a block say, may begin in one segment and end in another: a fetch cuts it anywhere.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use super::block::BLOCK_BYTES;
use super::segment::Segment;
use super::spill_store::SpillStore;
use crate::error::{Error, Result};

/// Collects bytes into segments.
#[derive(Debug)]
pub struct SegmentWriter {
    buffer: Vec<u8>,
    segments: Vec<Segment>,
    /// Their bytes.
    kept: u64,
    /// Bytes of a segment, about.
    segment_bytes: usize,
    spill_store: Arc<SpillStore>,
}

impl SegmentWriter {
    /// A writer. It can make several lists of segments, one after the other.
    pub fn new(spill_store: &Arc<SpillStore>) -> Self {
        Self {
            buffer: Vec::new(),
            segments: Vec::new(),
            kept: 0,
            segment_bytes: spill_store.segment_bytes(),
            spill_store: Arc::clone(spill_store),
        }
    }

    /// Where segments go.
    pub fn spill_store(&self) -> &Arc<SpillStore> {
        &self.spill_store
    }

    /// Bytes since the last list of segments.
    pub fn bytes(&self) -> u64 {
        self.kept + self.buffer.len() as u64
    }

    /// Adds what `write` appends.
    pub fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        if self.buffer.capacity() == 0 {
            // At once: growing would copy, and leave what it grew out of behind.
            self.buffer.reserve_exact(self.segment_bytes + 2 * BLOCK_BYTES);
        }
        write(&mut self.buffer)?;
        if self.buffer.len() >= self.segment_bytes { self.keep() } else { Ok(()) }
    }

    /// Adds these bytes, which are so many that they are a segment of their own.
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.keep()?;
        let segment = self.spill_store.keep_parts(parts)?;
        self.kept += segment.len();
        self.segments.push(segment);
        Ok(())
    }

    /// Gives all segments.
    pub fn finish(&mut self) -> Result<Vec<Segment>> {
        self.keep()?;
        self.kept = 0;
        Ok(std::mem::take(&mut self.segments))
    }

    fn keep(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.kept += self.buffer.len() as u64;
            self.segments.push(self.spill_store.keep(&mut self.buffer)?);
        }
        Ok(())
    }
}

/// The bytes of a range of segments.
pub fn segments_in(segments: &[Segment], range: &Range<u64>) -> Vec<Segment> {
    let mut end = 0;
    let slice = |segment: &Segment| {
        let start = end;
        end += segment.len();
        let slice = segment.slice(range.start.saturating_sub(start)..range.end.saturating_sub(start));
        (!slice.is_empty()).then_some(slice)
    };
    segments.iter().filter_map(slice).collect()
}

/// Reads segments, and gives back at once those that have been read.
#[derive(Debug)]
pub struct SegmentReader {
    /// What is still to be read, the current segment first.
    segments: VecDeque<Segment>,
    /// Where in the current segment.
    at: u64,
}

impl SegmentReader {
    /// A reader before the first byte.
    pub fn new(segments: Vec<Segment>) -> Self {
        Self { segments: segments.into(), at: 0 }
    }

    /// Whether all has been read. What [`Self::take`] has given is given back.
    pub fn is_at_end(&mut self) -> bool {
        while self.segments.front().is_some_and(|segment| self.at >= segment.len()) {
            self.segments.pop_front();
            self.at = 0;
        }
        self.segments.is_empty()
    }

    /// Takes the next bytes where they are: a place for [`Self::taken`], if they are in memory in one segment.
    pub fn take(&mut self, bytes: usize) -> Option<Range<usize>> {
        if self.is_at_end() {
            return None;
        }
        let range = self.at as usize..self.at as usize + bytes;
        self.segments[0].in_memory()?.get(range.clone())?;
        self.at += bytes as u64;
        Some(range)
    }

    /// Fills `buf` with bytes that are still to be read, from the one at `at` on, without reading them.
    pub fn peek(&self, mut at: u64, mut buf: &mut [u8]) -> Result<()> {
        at += self.at;
        for segment in &self.segments {
            if at >= segment.len() {
                at -= segment.len();
                continue;
            }
            let here = buf.len().min((segment.len() - at) as usize);
            let (now, later) = buf.split_at_mut(here);
            segment.read_at(now, at)?;
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
        let segment = self.segments.front().and_then(Segment::in_memory);
        segment.and_then(|segment| segment.get(range)).unwrap_or_default()
    }

    /// Fills `buf` with the next bytes; an error when there are not so many.
    pub fn fill(&mut self, buf: &mut [u8]) -> Result<()> {
        self.read_exact(buf).map_err(cut_short)
    }
}

impl Read for SegmentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_at_end() {
            return Ok(0);
        }
        let segment = &mut self.segments[0];
        segment.fetch()?;
        let here = buf.len().min((segment.len() - self.at) as usize);
        segment.read_at(&mut buf[..here], self.at)?;
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
