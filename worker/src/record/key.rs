//! The key of a record.

/// A record's key: made into text only where a function looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// A byte offset or a row's number.
    Number(u64),
    /// Bytes of the record.
    Bytes(&'a [u8]),
}

impl Key<'_> {
    /// The key as bytes: a number as decimal text.
    pub fn to_bytes<'b>(&'b self, scratch: &'b mut Vec<u8>) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(number) => {
                use std::io::Write as _;
                scratch.clear();
                // Writing to a vector can't fail.
                let _ = write!(scratch, "{number}");
                scratch
            }
        }
    }
}
