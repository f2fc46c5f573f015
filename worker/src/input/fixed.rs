//! Cuts content into records of a fixed length.

use std::io::Read;

use super::large::without_large;
use super::source::ObjectReader;
use crate::error::{Error, Result};
use crate::memory::{LARGE_RECORD, LargeRecord, large_record};
use crate::record::lines::{Lines, SLACK};
use crate::record::split::Url;

/// Bytes of a chunk, where records are shorter.
const CHUNK_BYTES: usize = 256 << 10;

/// Reads the records that begin in a split, a chunk at a time.
pub(super) struct FixedReader {
    content: Box<dyn Read + Send>,
    url: Url,
    record: usize,
    /// Bytes before the first record that begins in the split.
    skip: u64,
    /// Where the next chunk begins.
    offset: u64,
    end: Option<u64>,
    buffer: Vec<u8>,
    /// Held while the buffer is for a large record.
    _large: Option<LargeRecord>,
}

impl FixedReader {
    /// The records of a split, which need not begin with one. `buffer` is memory to use again.
    pub(super) fn new(source: ObjectReader, record: usize, url: Url, mut buffer: Vec<u8>) -> Self {
        let ObjectReader { content, offset, start: _, end } = source;
        let first = offset.next_multiple_of(record as u64);
        let large = (record > LARGE_RECORD).then(large_record);
        let chunk = (CHUNK_BYTES / record).max(1) * record;
        if buffer.len() < chunk + SLACK {
            buffer.resize(chunk + SLACK, 0);
        }
        Self {
            content,
            url,
            record,
            skip: first - offset,
            offset: first,
            end: end.get(),
            buffer,
            _large: large,
        }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        without_large(self.buffer)
    }

    /// The next records; none at the end of the split.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Lines<'_>>> {
        let record = self.record as u64;
        let room = (self.buffer.len() - SLACK) / self.record * self.record;
        let wanted = match self.end {
            Some(end) => {
                let left = end.saturating_sub(self.offset).div_ceil(record) * record;
                room.min(usize::try_from(left).unwrap_or(room))
            }
            None => room,
        };
        if wanted == 0 {
            return Ok(None);
        }
        if self.skip > 0 {
            let skip = std::mem::take(&mut self.skip);
            std::io::copy(&mut self.content.by_ref().take(skip), &mut std::io::sink())?;
        }
        let mut filled = 0;
        while filled < wanted {
            match self.content.read(&mut self.buffer[filled..wanted])? {
                0 => break,
                got => filled += got,
            }
        }
        let left_over = filled % self.record;
        if left_over > 0 {
            return Err(Error::permanent(format!(
                "{left_over} bytes are left over at the end of {}, after the last record of {record} bytes",
                self.url
            ))
            .because("check input.format.fixedLength.recordBytes, or whether the object is whole"));
        }
        if filled == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += filled as u64;
        Ok(Some(Lines { bytes: &self.buffer[..filled], padded: &self.buffer[..filled + SLACK], offset }))
    }
}
