//! Pairs of large values, which are written piece by piece: a value may be in a scratch file, and where it is in memory
//! there is to be no second copy of it.

use std::io::{BufReader, Read};

use super::format::{
    Around, OutputEncoding, is_embedded_by, not_text, push_embedded, push_field, push_field_part,
};
use crate::error::Result;
use crate::record::json::{self, push_string};
use crate::scratch::{READ, ScratchBytes};

/// Bytes of a value that an error shows, and more.
const SHOWN: usize = 4 << 10;

/// A value that is not copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum LargeValue<'a> {
    /// In memory.
    Slice(&'a [u8]),
    /// In memory or in a file.
    Scratch(&'a ScratchBytes),
}

/// Takes what is written.
type Write<'a> = dyn FnMut(&[u8]) -> Result<()> + 'a;

impl<'a> LargeValue<'a> {
    /// Calls `take` with all bytes, piece by piece.
    fn each_piece(self, take: &mut Write<'_>) -> Result<()> {
        match self {
            Self::Slice(bytes) => bytes.chunks(READ).try_for_each(take),
            Self::Scratch(bytes) => bytes.each_piece(take),
        }
    }

    /// Calls `take` with all of it as text, piece by piece; false where it turns out to be none.
    fn each_text(self, take: &mut dyn FnMut(&str) -> Result<()>) -> Result<bool> {
        // A character may begin in one piece and end in the next.
        let (mut rest, mut is_text) = (Vec::new(), true);
        self.each_piece(&mut |piece| {
            if !is_text {
                return Ok(());
            }
            rest.extend_from_slice(piece);
            let valid = match std::str::from_utf8(&rest) {
                Ok(text) => text.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => {
                    is_text = false;
                    return Ok(());
                }
            };
            take(std::str::from_utf8(&rest[..valid]).unwrap_or_default())?;
            rest.drain(..valid);
            Ok(())
        })?;
        Ok(is_text && rest.is_empty())
    }

    fn reader(self) -> Box<dyn Read + 'a> {
        match self {
            Self::Slice(bytes) => Box::new(bytes),
            Self::Scratch(bytes) => Box::new(BufReader::with_capacity(READ, bytes.reader(READ))),
        }
    }

    /// The first bytes, at most so many.
    pub(super) fn start(self, most: usize) -> Result<Vec<u8>> {
        let mut start = Vec::new();
        self.reader().take(most as u64).read_to_end(&mut start)?;
        Ok(start)
    }
}

impl OutputEncoding {
    /// Writes a pair as [`Format::write`] does. One that can't be written leaves nothing: all of it is looked at first.
    pub(super) fn write_large(&self, key: &[u8], value: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
        match self {
            Self::KeyValue { separator } => {
                write_around(Around::Line { separator: Some(separator) }, key, value, write)
            }
            Self::Lines => write_around(Around::Line { separator: None }, key, value, write),
            Self::FixedLength => write_around(Around::Nothing, key, value, write),
            Self::Csv => write_row(key, value, write),
            Self::JsonLines => write_json(key, value, write),
        }
    }
}

/// Writes a value as it is.
fn write_around(around: Around<'_>, key: &[u8], value: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
    let start = value.start(SHOWN)?;
    around.check_key(key, &start)?;
    value.each_piece(&mut |piece| around.check_piece(key, piece, &start))?;
    around.before(key).into_iter().try_for_each(&mut *write)?;
    value.each_piece(write)?;
    write(around.after())
}

/// What a value is, as far as it matters to formats of text.
#[derive(Default)]
struct TextLooks {
    needs_quotes: bool,
    first: Option<char>,
    last: Option<char>,
}

/// TextLooks at a key and a value that have to be text; the key.
fn look_at<'k>(key: &'k [u8], value: LargeValue<'_>) -> Result<(&'k str, TextLooks)> {
    let mut looks = TextLooks::default();
    let is_text = value.each_text(&mut |text| {
        looks.needs_quotes |= text.contains(['"', ',', '\n', '\r']);
        looks.first = looks.first.or_else(|| text.chars().next());
        looks.last = text.chars().next_back().or(looks.last);
        Ok(())
    })?;
    match std::str::from_utf8(key) {
        Ok(key) if is_text => Ok((key, looks)),
        _ => Err(not_text(key, &value.start(SHOWN)?)),
    }
}

/// A key as text, where the value is text too.
pub(super) fn key_of_texts<'k>(key: &'k [u8], value: LargeValue<'_>) -> Result<&'k str> {
    look_at(key, value).map(|(key, _)| key)
}

fn write_row(key: &[u8], value: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
    let (key, looks) = look_at(key, value)?;
    let mut out = Vec::new();
    push_field(key, &mut out);
    out.push(b',');
    if !looks.needs_quotes {
        write(&out)?;
        value.each_piece(write)?;
        return write(b"\n");
    }
    out.push(b'"');
    value.each_piece(&mut |piece| {
        push_field_part(piece, &mut out);
        write(&out)?;
        out.clear();
        Ok(())
    })?;
    write(b"\"\n")
}

fn write_json(key: &[u8], value: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
    let (key, looks) = look_at(key, value)?;
    let embedded = is_embedded_by(looks.first, looks.last) && json::check_all(value.reader())?;
    let mut out = b"{\"key\":".to_vec();
    push_string(&mut out, key);
    out.extend_from_slice(b",\"value\":");
    if !embedded {
        out.push(b'"');
    }
    write(&out)?;
    out.clear();
    value.each_text(&mut |text| {
        if embedded {
            push_embedded(text, &mut out);
        } else {
            let from = out.len();
            push_string(&mut out, text);
            // Its quotes are around all of the value.
            out.pop();
            out.remove(from);
        }
        write(&out)?;
        out.clear();
        Ok(())
    })?;
    write(if embedded { b"}\n" } else { b"\"}\n" })
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::Output;
    use proptest::prelude::*;

    use super::{LargeValue, OutputEncoding};
    use crate::scratch::{ScratchBytes, ScratchPlace};

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[a-z\",\n\r\t\u{1}é€]{0,40}".prop_map(String::into_bytes),
            r#"(\[|\{"a": ?)[0-9,\n ]{0,30}[\]\}]"#.prop_map(String::into_bytes),
            "-?[0-9]{1,30}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..40),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        /// Repeated, a text is more than a piece, whose ends are anywhere in it.
        #[test]
        fn a_large_value_is_written_as_a_small_one_would_be(
            kind in prop_oneof![
                Just("KeyValue"), Just("Lines"), Just("FixedLength"), Just("Csv"), Just("JsonLines")
            ],
            key in "[a-z,\t\"é]{0,4}",
            (value, times) in (value(), prop_oneof![Just(1usize), Just(5_000)]),
            memory in prop_oneof![Just(0usize), Just(100_000), Just(1 << 20)],
        ) {
            let output: Output =
                serde_json::from_value(serde_json::json!({"url": "file:x/", "format": {"type": kind}})).unwrap();
            let format = OutputEncoding::new(&output);
            let value = value.repeat(times);
            let mut small = Vec::new();
            let expected = format.write(key.as_bytes(), &value, &mut small).map_err(|e| e.to_string());
            let dir = tempfile::tempdir().unwrap();
            let mut scratch = ScratchBytes::new(&ScratchPlace::new(dir.path().to_owned(), memory));
            value.chunks(7_001).for_each(|piece| scratch.append(piece).unwrap());
            for large in [LargeValue::Slice(&value), LargeValue::Scratch(&scratch)] {
                let mut written = Vec::new();
                let done = format.write_large(key.as_bytes(), large, &mut |bytes| {
                    written.extend_from_slice(bytes);
                    Ok(())
                });
                prop_assert_eq!(done.map_err(|e| e.to_string()), expected.clone());
                if expected.is_ok() {
                    prop_assert!(written == small);
                } else {
                    prop_assert!(written.is_empty(), "what can't be written leaves nothing");
                }
            }
        }
    }
}
