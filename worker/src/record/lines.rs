//! Whole lines, and what ends one.

use memchr::memmem;

/// Bytes after a chunk that may be read without looking, for code that reads words at once.
pub const SLACK: usize = 64;

/// What ends a record.
#[derive(Clone, Debug)]
pub struct Delimiter {
    bytes: Vec<u8>,
    find: memmem::Finder<'static>,
    find_last: memmem::FinderRev<'static>,
}

impl Delimiter {
    /// A delimiter of at least a byte.
    pub fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            find: memmem::Finder::new(bytes).into_owned(),
            find_last: memmem::FinderRev::new(bytes).into_owned(),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether two occurrences can share bytes, as those of `aa` in `aaa`. Where a record ends then
    /// depends on all that is before it, so that an object can't be cut.
    pub fn overlaps_itself(&self) -> bool {
        (1..self.bytes.len()).any(|n| self.bytes.ends_with(&self.bytes[..n]))
    }

    pub(crate) fn first(&self, text: &[u8]) -> Option<usize> {
        match self.bytes[..] {
            [byte] => memchr::memchr(byte, text),
            _ => self.find.find(text),
        }
    }

    /// The start of the last occurrence, where occurrences can't overlap.
    pub(crate) fn last(&self, text: &[u8]) -> Option<usize> {
        match self.bytes[..] {
            [byte] => memchr::memrchr(byte, text),
            _ if self.overlaps_itself() => self.find.find_iter(text).last(),
            _ => self.find_last.rfind(text),
        }
    }
}

/// Whole records: each with its delimiter, but perhaps the last of an object.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The records' bytes.
    pub bytes: &'a [u8],
    /// The same and [`SLACK`] bytes of anything after them.
    pub padded: &'a [u8],
    /// Where in the object's content they begin.
    pub offset: u64,
}
