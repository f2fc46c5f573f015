//! Large pairs, which are written piece by piece: a value may be in a scratch file, and of a key or value that is in
//! memory there is to be no second copy.

use std::io::{BufReader, Read};

use super::format::{Around, OutputEncoding, is_embedded_by, not_text, push_embedded, push_field_part};
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

/// What a text is, as far as it matters to formats of text.
#[derive(Default)]
struct TextLooks {
    needs_quotes: bool,
    first: Option<char>,
    last: Option<char>,
}

/// What a text is; none where it is no text.
fn look_at(text: LargeValue<'_>) -> Result<Option<TextLooks>> {
    let mut looks = TextLooks::default();
    let is_text = text.each_text(&mut |text| {
        looks.needs_quotes |= text.contains(['"', ',', '\n', '\r']);
        looks.first = looks.first.or_else(|| text.chars().next());
        looks.last = text.chars().next_back().or(looks.last);
        Ok(())
    })?;
    Ok(is_text.then_some(looks))
}

/// What a key and a value are, that have to be text.
fn look_at_both(key: &[u8], value: LargeValue<'_>) -> Result<(TextLooks, TextLooks)> {
    match (look_at(LargeValue::Slice(key))?, look_at(value)?) {
        (Some(key), Some(value)) => Ok((key, value)),
        _ => Err(not_text(key, &value.start(SHOWN)?)),
    }
}

/// A key as text, where the value is text too.
pub(super) fn key_of_texts<'k>(key: &'k [u8], value: LargeValue<'_>) -> Result<&'k str> {
    match (std::str::from_utf8(key), look_at(value)?) {
        (Ok(key), Some(_)) => Ok(key),
        _ => Err(not_text(key, &value.start(SHOWN)?)),
    }
}

fn write_row(key: &[u8], value: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
    let (key_looks, looks) = look_at_both(key, value)?;
    write_field(LargeValue::Slice(key), &key_looks, write)?;
    write(b",")?;
    write_field(value, &looks, write)?;
    write(b"\n")
}

fn write_field(text: LargeValue<'_>, looks: &TextLooks, write: &mut Write<'_>) -> Result<()> {
    if !looks.needs_quotes {
        return text.each_piece(write);
    }
    write(b"\"")?;
    let mut out = Vec::new();
    text.each_piece(&mut |piece| {
        push_field_part(piece, &mut out);
        write(&out)?;
        out.clear();
        Ok(())
    })?;
    write(b"\"")
}

fn write_json(key: &[u8], value: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
    let (_, looks) = look_at_both(key, value)?;
    let embedded = is_embedded_by(looks.first, looks.last) && json::check_all(value.reader())?;
    write(b"{\"key\":")?;
    write_string(LargeValue::Slice(key), write)?;
    write(b",\"value\":")?;
    if !embedded {
        write_string(value, write)?;
        return write(b"}\n");
    }
    let mut out = Vec::new();
    value.each_text(&mut |text| {
        push_embedded(text, &mut out);
        write(&out)?;
        out.clear();
        Ok(())
    })?;
    write(b"}\n")
}

fn write_string(text: LargeValue<'_>, write: &mut Write<'_>) -> Result<()> {
    write(b"\"")?;
    let mut out = Vec::new();
    text.each_text(&mut |text| {
        push_string(&mut out, text);
        // The quotes of a piece are not the string's.
        write(&out[1..out.len() - 1])?;
        out.clear();
        Ok(())
    })?;
    write(b"\"")
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
            (key, key_times) in ("[a-z,\t\"é]{0,4}", prop_oneof![Just(1usize), Just(50_000)]),
            (value, times) in (value(), prop_oneof![Just(1usize), Just(5_000)]),
            memory in prop_oneof![Just(0usize), Just(100_000), Just(1 << 20)],
        ) {
            let output: Output =
                serde_json::from_value(serde_json::json!({"url": "file:x/", "format": {"type": kind}})).unwrap();
            let format = OutputEncoding::new(&output);
            let (key, value) = (key.repeat(key_times), value.repeat(times));
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
