//! `words`: each word of a record → 1.

use regex::bytes::Regex;

use crate::error::Result;
use crate::record::chunk::{Chunk, Record};
use crate::record::hashed::HashedKey;
use crate::record::{MapOutput, Mapper};

/// Whether a byte stands between words: space, `\t`, `\n`, `\v`, `\f`, `\r`.
#[inline]
fn is_space(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

/// Runs of bytes other than white space.
pub(super) struct Words;

impl<O: MapOutput> Mapper<O> for Words {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        record
            .value
            .split(|&byte| is_space(byte))
            .filter(|word| !word.is_empty())
            .try_for_each(|word| out.emit_one(word))
    }

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
        // A record's end is white space too, so that the words of a chunk are the words of its
        // records: no need to cut them.
        if !chunk.is_plain() {
            return chunk.each(|record| self.map(&record, out));
        }
        if out.adds_up() {
            count_words(chunk.lines.padded, chunk.lines.bytes.len(), out)?;
        } else {
            let words = chunk.lines.bytes.split(|&byte| is_space(byte));
            words.filter(|word| !word.is_empty()).try_for_each(|word| out.emit_one(word))?;
        }
        Ok(chunk.count_lines())
    }
}

/// Words that are looked up at once.
const WORDS: usize = 32;

/// Adds one for each word of `padded[..len]`, 8 bytes at a time.
///
/// `padded` has at least 16 more bytes than `len`, so that a word's first 16 bytes can be read at once.
fn count_words(padded: &[u8], len: usize, out: &mut impl MapOutput) -> Result<()> {
    let (mut words, mut count) = ([HashedKey::default(); WORDS], 0);
    let mut start = 0;
    let mut at = 0;
    while at < len {
        let mut mask = spaces(&padded[at..at + 64]);
        if len - at < 64 {
            mask &= (1 << (len - at)) - 1;
        }
        while mask != 0 {
            let end = at + mask.trailing_zeros() as usize;
            mask &= mask - 1;
            if end > start {
                words[count] = word(padded, start, end);
                count += 1;
                if count == WORDS {
                    out.add_ones(&words)?;
                    count = 0;
                }
            }
            start = end + 1;
        }
        at += 64;
    }
    out.add_ones(&words[..count])?;
    if start < len {
        out.add_ones(&[word(padded, start, len)])?;
    }
    Ok(())
}

/// A bit for each of 64 bytes that is white space. The compiler makes vector code of it.
#[inline]
fn spaces(bytes: &[u8]) -> u64 {
    let mut mask = 0;
    for (group, eight) in bytes.chunks_exact(8).enumerate() {
        let mut bits = 0u64;
        for (i, &byte) in eight.iter().enumerate() {
            bits |= u64::from(is_space(byte)) << i;
        }
        mask |= bits << (8 * group);
    }
    mask
}

#[inline]
fn word(padded: &[u8], start: usize, end: usize) -> HashedKey<'_> {
    let len = end - start;
    let (mut a, mut b) = match padded.get(start..start + 16).and_then(<[u8]>::first_chunk::<16>) {
        Some(first) => {
            let both = u128::from_le_bytes(*first);
            (both as u64, (both >> 64) as u64)
        }
        None => (0, 0),
    };
    if len < 8 {
        a &= (1 << (8 * len)) - 1;
        b = 0;
    } else if len < 16 {
        b &= (1 << (8 * (len - 8))) - 1;
    }
    HashedKey::of_halves(a, b, &padded[start..end])
}

/// Words by a pattern, or in small letters.
pub(super) struct PatternWords {
    pattern: Option<Regex>,
    lowercase: bool,
    small: Vec<u8>,
}

impl PatternWords {
    pub(super) fn new(pattern: Option<Regex>, lowercase: bool) -> Self {
        Self { pattern, lowercase, small: Vec::new() }
    }

    fn word(&mut self, word: &[u8], out: &mut impl MapOutput) -> Result<()> {
        if !self.lowercase {
            return out.emit_one(word);
        }
        self.small.clear();
        match std::str::from_utf8(word) {
            Ok(text) if !text.is_ascii() => self.small.extend_from_slice(text.to_lowercase().as_bytes()),
            _ => self.small.extend(word.iter().map(u8::to_ascii_lowercase)),
        }
        out.emit_one(&self.small)
    }
}

impl<O: MapOutput> Mapper<O> for PatternWords {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        let Some(pattern) = self.pattern.take() else {
            let mut words = record.value.split(|&byte| is_space(byte)).filter(|word| !word.is_empty());
            return words.try_for_each(|word| self.word(word, out));
        };
        let result = pattern
            .find_iter(record.value)
            .filter(|word| !word.is_empty())
            .try_for_each(|word| self.word(word.as_bytes(), out));
        self.pattern = Some(pattern);
        result
    }
}
