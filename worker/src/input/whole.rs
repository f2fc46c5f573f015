//! An object as one record.

use std::io::Read;

use super::large::{grow, without_large};
use super::source::ObjectReader;
use crate::error::Result;
use crate::memory::LargeRecord;
use crate::record::lines::{Lines, SLACK};
use crate::record::skipped::shown;
use crate::record::split::{RecordLimit, Url};

/// Bytes of a buffer for small objects.
const BYTES: usize = 64 << 10;

/// Reads an object whole.
pub(super) struct WholeReader {
    content: Option<Box<dyn Read + Send>>,
    url: Url,
    most: RecordLimit,
    /// The object, in the first `filled` bytes.
    buffer: Vec<u8>,
    filled: usize,
    /// Held while it is a large one.
    large: Option<LargeRecord>,
}

impl WholeReader {
    /// `buffer` is memory to use again.
    pub(super) fn new(source: ObjectReader, most: RecordLimit, url: Url, buffer: Vec<u8>) -> Self {
        Self { content: Some(source.content), url, most, buffer, filled: 0, large: None }
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        without_large(self.buffer)
    }

    /// As much as is shown of an object that is too long.
    pub(super) fn skip_long(&mut self) -> Vec<u8> {
        shown(&self.buffer[..self.filled]).to_vec()
    }

    /// The content, once; none when it is empty.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Lines<'_>>> {
        let Some(content) = self.content.take() else { return Ok(None) };
        let mut content = content.take(self.most.bytes.saturating_add(1));
        if self.buffer.len() < BYTES {
            self.buffer.resize(BYTES, 0);
        }
        loop {
            if self.filled + SLACK == self.buffer.len() {
                grow(&mut self.buffer, &mut self.large, self.most.bytes);
            }
            let room = self.buffer.len() - SLACK;
            match content.read(&mut self.buffer[self.filled..room])? {
                0 => break,
                got => self.filled += got,
            }
        }
        if self.filled as u64 > self.most.bytes {
            return Err(self.most.exceeded(&self.url, 0));
        }
        let lines = Lines { bytes: &self.buffer[..self.filled], padded: &self.buffer, offset: 0 };
        Ok(Some(lines).filter(|lines| !lines.bytes.is_empty()))
    }
}
