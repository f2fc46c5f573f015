//! Byte strings one after the other, as they cross the border.

use crate::error::{Error, Result};
use crate::record::emit::emit_each;
use crate::record::{Emit, Values};

/// Bytes of strings that are collected for one call.
const MAX_BYTES: usize = 64 << 10;
/// Strings that are.
const MOST: usize = 16 << 10;

/// Byte strings, and where each of them ends.
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<u32>,
}

impl Strings {
    pub(super) fn push(&mut self, string: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(string);
        let end = u32::try_from(self.bytes.len()).map_err(|_| {
            Error::permanent(format!("{} bytes at once are more than a component can take", self.bytes.len()))
        })?;
        self.ends.push(end);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether it is time for a call.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_BYTES || self.ends.len() >= MOST
    }

    /// Takes values until there are enough for a call; whether there may be more.
    pub(super) fn fill(&mut self, values: &mut dyn Values) -> Result<bool> {
        while !self.is_full() {
            match values.next()? {
                Some(value) => self.push(value)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Emits pairs: a key, its value, the next key, its value and so on. `name` is whose they are.
pub(super) fn emit(bytes: &[u8], ends: &[u32], name: &str, out: &mut dyn Emit) -> Result<()> {
    let wrong = |why: String| Error::permanent(format!("{name} called `emit` with {why}"));
    let (pairs, odd) = ends.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(wrong(format!("{} byte strings: a pair is two, a key and its value", ends.len())));
    }
    let mut from = 0;
    let pairs = pairs.iter().map(|&[key_end, value_end]| {
        let start = std::mem::replace(&mut from, value_end as usize);
        let key = bytes.get(start..key_end as usize);
        key.zip(bytes.get(key_end as usize..value_end as usize)).ok_or_else(|| {
            let length = bytes.len();
            wrong(format!("a pair that is from {start} to {key_end} to {value_end} of {length} bytes"))
        })
    });
    emit_each(pairs, out)?;
    if from != bytes.len() {
        return Err(wrong(format!("{} bytes, of which {from} are of pairs", bytes.len())));
    }
    Ok(())
}
