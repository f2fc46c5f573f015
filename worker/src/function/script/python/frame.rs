//! The messages between the worker and a script's process.
//!
//! ```text
//!  header   kind u8 │ flags u8 │ 0 u16 │ count u32 │ keys u32 │ values u32     little-endian
//!  payload  sizes of groups: count × u32 (R only) │ `keys` bytes │ `values` bytes
//!
//!  to the process    I role⏎name, source (flag: go on without bad records)    M records    R groups    S answer when done    E the end
//!  to the worker     P pairs    C counters    K a record left out    X failure    S all is answered    E the end
//! ```
//!
//! A block of texts has newlines between them. Where one of them holds a newline itself, the block
//! begins with the texts' sizes in bytes, and the flag of the block says so.

use crate::error::{Error, Result};

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const KEYS_SIZED: u8 = 1;
pub(super) const VALUES_SIZED: u8 = 2;
/// Records at which the script fails are left out (I only).
pub(super) const CAREFUL: u8 = 1;
/// The first group of the message is the last of the message before.
pub(super) const CONTINUES: u8 = 4;
/// The last group of the message goes on in the next.
pub(super) const MORE: u8 = 8;

/// A message's header.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameHeader {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) count: u32,
    pub(super) keys: u32,
    pub(super) values: u32,
}

impl FrameHeader {
    /// Appends the header.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.kind, self.flags, 0, 0]);
        for number in [self.count, self.keys, self.values] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Puts the header where `message` has room for it: at its start.
    pub(super) fn put(self, message: &mut [u8]) {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        self.write(&mut header);
        if let Some(room) = message.first_chunk_mut::<HEADER_BYTES>() {
            room.copy_from_slice(&header);
        }
    }

    /// The header at the start of `bytes`, once it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Self { kind: bytes[0], flags: bytes[1], count: number(4), keys: number(8), values: number(12) })
    }
}

/// Texts that are collected for a message.
#[derive(Debug, Default)]
pub(super) struct FrameBody {
    /// Each with a newline after it.
    text: Vec<u8>,
    sizes: Vec<u32>,
    sized: bool,
}

impl FrameBody {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.sized |= memchr::memchr(b'\n', text).is_some();
        self.text.extend_from_slice(text);
        self.text.push(b'\n');
        self.sizes.push(text.len() as u32);
    }

    /// Adds a number as decimal text.
    pub(super) fn push_number(&mut self, number: u64) {
        use std::io::Write as _;
        let before = self.text.len();
        // Writing to a vector can't fail.
        let _ = writeln!(self.text, "{number}");
        self.sizes.push((self.text.len() - before - 1) as u32);
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    /// The first text that is not valid UTF-8, and its number.
    pub(super) fn not_utf8(&self) -> Option<(usize, &[u8])> {
        let bad = std::str::from_utf8(&self.text).err()?.valid_up_to();
        let mut start = 0;
        for (number, &size) in self.sizes.iter().enumerate() {
            let end = start + size as usize;
            if bad <= end {
                return Some((number, &self.text[start..end]));
            }
            start = end + 1;
        }
        None
    }

    /// Appends the block and empties it. Says how many bytes it took, and whether sizes come first.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> (u32, bool) {
        let before = out.len();
        let sized = self.sized;
        if sized {
            self.sizes.iter().for_each(|size| out.extend_from_slice(&size.to_le_bytes()));
        }
        out.extend_from_slice(self.text.strip_suffix(b"\n").unwrap_or_default());
        self.text.clear();
        self.sizes.clear();
        self.sized = false;
        ((out.len() - before) as u32, sized)
    }
}

/// The texts of a block that was received.
pub(super) struct Texts<'a> {
    sizes: Option<&'a [u8]>,
    rest: &'a [u8],
}

impl<'a> Texts<'a> {
    pub(super) fn new(block: &'a [u8], count: u32, sized: bool) -> Result<Self> {
        if !sized {
            return Ok(Self { sizes: None, rest: block });
        }
        let (sizes, rest) = block.split_at_checked(4 * count as usize).ok_or_else(garbled)?;
        Ok(Self { sizes: Some(sizes), rest })
    }

    /// The next text: there are as many as the message's header says.
    pub(super) fn next(&mut self) -> Result<&'a [u8]> {
        let size = match &mut self.sizes {
            None => memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len()),
            Some(sizes) => {
                let (size, after) = sizes.split_first_chunk::<4>().ok_or_else(garbled)?;
                *sizes = after;
                u32::from_le_bytes(*size) as usize
            }
        };
        let (text, rest) = self.rest.split_at_checked(size).ok_or_else(garbled)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }
}

/// The error for a message that is none.
pub(super) fn garbled() -> Error {
    Error::retry("a script's process sent a malformed message")
}

#[cfg(test)]
mod tests {
    use super::{FrameBody, Texts};

    fn there_and_back(texts: &[&str]) -> Vec<String> {
        let mut block = FrameBody::default();
        texts.iter().for_each(|text| block.push(text.as_bytes()));
        let mut out = Vec::new();
        let (bytes, sized) = block.write(&mut out);
        assert_eq!(out.len(), bytes as usize);
        assert_eq!(sized, texts.iter().any(|text| text.contains('\n')), "sizes only where they are needed");
        let mut found = Texts::new(&out, texts.len() as u32, sized).unwrap();
        texts.iter().map(|_| String::from_utf8(found.next().unwrap().to_vec()).unwrap()).collect()
    }

    #[test]
    fn texts_come_out_as_they_went_in() {
        for texts in [&["a", "", "b c"][..], &[""], &["", ""], &["a\nb", "", "\n"], &["\n"], &[]] {
            assert_eq!(there_and_back(texts), texts);
        }
    }

    #[test]
    fn the_text_that_is_no_utf8_is_found() {
        let mut block = FrameBody::default();
        block.push("é".as_bytes());
        block.push_number(12);
        assert_eq!(block.not_utf8(), None);
        // Two halves of a character in neighbours are none.
        block.push(b"x\xc3");
        block.push(b"\xa9");
        assert_eq!(block.not_utf8(), Some((2, &b"x\xc3"[..])));
    }
}
