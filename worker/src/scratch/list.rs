//! A list of texts of any length, in memory or in a file.

use std::io::Read;

use super::{READ, ScratchBytes, ScratchPlace, ScratchReader};
use crate::error::{Error, Result};

/// Texts that are appended, and read from the first to the last as often as one likes.
#[derive(Debug)]
pub struct ScratchList {
    bytes: ScratchBytes,
    count: u64,
    longest: usize,
}

impl ScratchList {
    /// No texts.
    pub fn new(place: &ScratchPlace) -> Self {
        Self { bytes: ScratchBytes::new(place), count: 0, longest: 0 }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.count, self.longest) = (0, 0);
    }

    /// Number of texts.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of all texts.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() - LENGTH * self.count
    }

    /// Bytes of the longest text.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Appends a text, of less than 4 GiB as all keys and values.
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        self.begin(text.len())?;
        self.bytes.append(text)
    }

    /// Appends a text, piece by piece.
    pub fn push_large(&mut self, text: &ScratchBytes) -> Result<()> {
        self.begin(usize::try_from(text.len()).unwrap_or(usize::MAX))?;
        text.each_piece(&mut |piece| self.bytes.append(piece))
    }

    fn begin(&mut self, length: usize) -> Result<()> {
        let Ok(stored) = u32::try_from(length) else {
            return Err(Error::permanent("a value is larger than 4 GiB"));
        };
        self.count += 1;
        self.longest = self.longest.max(length);
        self.bytes.append(&stored.to_le_bytes())
    }

    /// Reads from the first text on, about so many bytes at once.
    pub fn reader(&self, at_once: usize) -> ListReader<'_> {
        ListReader { bytes: self.bytes.reader(at_once) }
    }
}

/// Bytes before a text, which say how long it is.
const LENGTH: u64 = 4;

/// Reads a [`ScratchList`].
#[derive(Debug)]
pub struct ListReader<'a> {
    bytes: ScratchReader<'a>,
}

impl ListReader<'_> {
    /// Appends the next text to others, without another copy of a large one; false after the last.
    pub fn append_text(&mut self, texts: &mut Vec<u8>) -> Result<bool> {
        let Some(length) = self.next_length()? else { return Ok(false) };
        let all = texts.len() + length;
        if length > READ {
            texts.reserve_exact(length);
        }
        Read::take(&mut self.bytes, length as u64).read_to_end(texts)?;
        if texts.len() == all { Ok(true) } else { Err(Error::retry("a scratch file ends too early")) }
    }

    /// Calls `take` with the next text, piece by piece; false behind the last.
    pub fn each_piece(&mut self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        let Some(mut left) = self.next_length()? else { return Ok(false) };
        while left > 0 {
            let Some(piece) = self.bytes.take_bytes(left.min(READ))? else {
                return Err(Error::retry("a scratch file ends too early"));
            };
            left -= piece.len();
            take(piece)?;
        }
        Ok(true)
    }

    fn next_length(&mut self) -> Result<Option<usize>> {
        let length = self.bytes.take_bytes(LENGTH as usize)?.and_then(|bytes| bytes.first_chunk().copied());
        Ok(length.map(|length| u32::from_le_bytes(length) as usize))
    }

    /// The next text; none after the last.
    pub fn next_text(&mut self) -> Result<Option<&[u8]>> {
        let Some(length) = self.next_length()? else { return Ok(None) };
        self.bytes.take_bytes(length)
    }
}
