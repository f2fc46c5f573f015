//! How a pair is written.

use mapreduce_api::v1alpha1::{Output, OutputFormatType};

use crate::error::{Error, Result, excerpt};
use crate::record::json::{self, push_string};

/// How pairs are written.
#[derive(Debug)]
pub(super) enum OutputEncoding {
    /// A line of key, separator, value.
    KeyValue { separator: Vec<u8> },
    /// A line of the value alone.
    Lines,
    /// Key and value with nothing between.
    FixedLength,
    /// A row of key and value.
    Csv,
    /// A line with a JSON object of key and value.
    JsonLines,
}

impl OutputEncoding {
    pub(super) fn new(output: &Output) -> Self {
        match output.format.kind {
            OutputFormatType::KeyValue => {
                let options = output.format.key_value.clone().unwrap_or_default();
                Self::KeyValue {
                    separator: options.separator.map_or_else(|| b"\t".to_vec(), String::into_bytes),
                }
            }
            OutputFormatType::Lines => Self::Lines,
            OutputFormatType::FixedLength => Self::FixedLength,
            OutputFormatType::Csv => Self::Csv,
            // Parquet has a writer of its own.
            OutputFormatType::JsonLines | OutputFormatType::Parquet => Self::JsonLines,
        }
    }

    /// What a part begins with.
    pub(super) fn header(&self) -> &'static [u8] {
        match self {
            Self::Csv => b"key,value\n",
            _ => b"",
        }
    }

    /// Appends a pair. A pair that would read back as another is a bad record.
    #[inline]
    pub(super) fn write(&self, key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::KeyValue { separator } => {
                let around = Around::Line { separator: Some(separator) };
                around.check_key(key, value)?;
                around.check_piece(key, value, value)?;
                out.extend_from_slice(key);
                out.extend_from_slice(separator);
            }
            Self::Lines => Around::Line { separator: None }.check_piece(key, value, value)?,
            Self::FixedLength => {
                out.extend_from_slice(key);
                out.extend_from_slice(value);
                return Ok(());
            }
            Self::Csv => {
                let (k, v) = texts(key, value)?;
                push_field(k, out);
                out.push(b',');
                push_field(v, out);
                out.push(b'\n');
                return Ok(());
            }
            Self::JsonLines => {
                let (k, v) = texts(key, value)?;
                out.extend_from_slice(b"{\"key\":");
                push_string(out, k);
                out.extend_from_slice(b",\"value\":");
                if is_embedded(v) {
                    push_embedded(v, out);
                } else {
                    push_string(out, v);
                }
                out.extend_from_slice(b"}\n");
                return Ok(());
            }
        }
        out.extend_from_slice(value);
        out.push(b'\n');
        Ok(())
    }
}

/// What is written around a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Around<'a> {
    /// Key and separator, if there is one, and a newline.
    Line { separator: Option<&'a [u8]> },
    /// The key.
    Nothing,
}

impl Around<'_> {
    /// An error for a key that would read back as another; the beginning of the value is shown.
    #[inline]
    pub(super) fn check_key(self, key: &[u8], value: &[u8]) -> Result<()> {
        let Self::Line { separator: Some(separator) } = self else { return Ok(()) };
        if memchr::memchr(b'\n', key).is_some() {
            return Err(unwritable("holds a newline", key, value));
        }
        let ambiguous = match separator[..] {
            [byte] => memchr::memchr(byte, key).is_some(),
            _ => memchr::memmem::find(key, separator).is_some(),
        };
        if ambiguous { Err(unwritable("has a key that holds the separator", key, value)) } else { Ok(()) }
    }

    /// An error for a value with such a piece; its beginning is shown.
    #[inline]
    pub(super) fn check_piece(self, key: &[u8], piece: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Line { separator } if memchr::memchr(b'\n', piece).is_some() => {
                let why =
                    if separator.is_some() { "holds a newline" } else { "has a value that holds a newline" };
                Err(unwritable(why, key, value))
            }
            Self::Line { .. } | Self::Nothing => Ok(()),
        }
    }

    /// What comes before the value: parts, one after the other.
    pub(super) fn before<'k>(self, key: &'k [u8]) -> [&'k [u8]; 2]
    where
        Self: 'k,
    {
        match self {
            Self::Line { separator: Some(separator) } => [key, separator],
            Self::Line { separator: None } => [b"", b""],
            Self::Nothing => [key, b""],
        }
    }

    /// What comes after it.
    pub(super) fn after(self) -> &'static [u8] {
        match self {
            Self::Line { .. } => b"\n",
            Self::Nothing => b"",
        }
    }
}

/// Key and value as text.
pub(super) fn texts<'a>(key: &'a [u8], value: &'a [u8]) -> Result<(&'a str, &'a str)> {
    match (std::str::from_utf8(key), std::str::from_utf8(value)) {
        (Ok(k), Ok(v)) => Ok((k, v)),
        _ => Err(not_text(key, value)),
    }
}

pub(super) fn not_text(key: &[u8], value: &[u8]) -> Error {
    bad_pair("is not valid UTF-8", key, value)
        .because("choose an output.format that takes any bytes, as KeyValue, or emit text, as base64")
}

/// Appends a field of a row (RFC 4180).
pub(super) fn push_field(text: &str, out: &mut Vec<u8>) {
    if !text.contains(['"', ',', '\n', '\r']) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    push_field_part(text.as_bytes(), out);
    out.push(b'"');
}

/// Appends a part of a field in quotes.
pub(super) fn push_field_part(part: &[u8], out: &mut Vec<u8>) {
    for &byte in part {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
}

/// Whether a value is a JSON object, array or number.
fn is_embedded(value: &str) -> bool {
    is_embedded_by(value.chars().next(), value.chars().next_back()) && json::check(value).is_ok()
}

/// Whether a JSON text with these first and last characters is an object, array or number.
pub(super) fn is_embedded_by(first: Option<char>, last: Option<char>) -> bool {
    matches!(first, Some('{' | '[' | '-' | '0'..='9')) && matches!(last, Some('}' | ']' | '0'..='9'))
}

/// Appends JSON text. White space between tokens may be a newline, and a record is a line.
pub(super) fn push_embedded(text: &str, out: &mut Vec<u8>) {
    let is_newline = |byte| matches!(byte, b'\n' | b'\r');
    out.extend(text.bytes().map(|byte| if is_newline(byte) { b' ' } else { byte }));
}

fn unwritable(why: &str, key: &[u8], value: &[u8]) -> Error {
    bad_pair(why, key, value).because("choose another output.format, as JsonLines, or another separator")
}

fn bad_pair(why: &str, key: &[u8], value: &[u8]) -> Error {
    Error::permanent(format!("bad record: the pair `{}` → `{}` {why}", excerpt(key), excerpt(value)))
        .of_record()
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::Output;

    use super::OutputEncoding;

    fn format(format: &serde_json::Value) -> OutputEncoding {
        let output: Output =
            serde_json::from_value(serde_json::json!({"url": "file:x/", "format": format})).unwrap();
        OutputEncoding::new(&output)
    }

    fn write(by: &OutputEncoding, key: &str, value: &str) -> Result<String, String> {
        let mut out = Vec::new();
        by.write(key.as_bytes(), value.as_bytes(), &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_pair_is_a_line_of_key_separator_and_value() {
        let by = format(&serde_json::json!({"type": "KeyValue"}));
        assert_eq!(write(&by, "k", "a\tb").unwrap(), "k\ta\tb\n");
        assert_eq!(write(&by, "", "").unwrap(), "\t\n", "the separator is always written");
        let by = format(&serde_json::json!({"type": "KeyValue", "keyValue": {"separator": " = "}}));
        assert_eq!(write(&by, "k\t", "v").unwrap(), "k\t = v\n");
        assert_eq!(write(&format(&serde_json::json!({"type": "Lines"})), "k\n", "v").unwrap(), "v\n");
    }

    #[test]
    fn a_row_of_csv_has_quotes_where_they_are_needed() {
        let by = format(&serde_json::json!({"type": "Csv"}));
        assert_eq!(by.header(), b"key,value\n");
        for (key, value, row) in [
            ("k", "v w", "k,v w\n"),
            ("", "", ",\n"),
            ("a,b", "x\"y", "\"a,b\",\"x\"\"y\"\n"),
            ("a\nb", "\r", "\"a\nb\",\"\r\"\n"),
        ] {
            assert_eq!(write(&by, key, value).unwrap(), row);
        }
    }

    #[test]
    fn a_value_that_is_an_object_an_array_or_a_number_is_embedded_and_others_are_strings() {
        let by = format(&serde_json::json!({"type": "JsonLines"}));
        for (value, json) in [
            ("1", "1"),
            ("-1.5e3", "-1.5e3"),
            ("{\"a\": [1,\n2]}", "{\"a\": [1, 2]}"),
            ("[]", "[]"),
            ("text", "\"text\""),
            ("", "\"\""),
            ("true", "\"true\""),
            ("null", "\"null\""),
            ("\"s\"", "\"\\\"s\\\"\""),
            ("+1", "\"+1\""),
            ("01", "\"01\""),
            ("1 ", "\"1 \""),
            ("{a}", "\"{a}\""),
            ("a\tb", "\"a\\tb\""),
        ] {
            assert_eq!(
                write(&by, "k\"", value).unwrap(),
                format!("{{\"key\":\"k\\\"\",\"value\":{json}}}\n")
            );
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_a_bad_record_in_text_formats_and_none_elsewhere() {
        for kind in ["Csv", "JsonLines"] {
            let by = format(&serde_json::json!({"type": kind}));
            for (key, value) in [(&b"\xff"[..], &b"v"[..]), (b"k", b"\xff")] {
                let error = by.write(key, value, &mut Vec::new()).unwrap_err();
                let text = error.to_string();
                assert!(text.contains("bad record") && text.contains("is not valid UTF-8"), "{text}");
                // None of the formats that are text is the remedy.
                let remedy = error.causes().concat();
                assert!(remedy.contains("KeyValue") && !remedy.contains("JsonLines"), "{remedy}");
            }
        }
        let mut out = Vec::new();
        let by = format(&serde_json::json!({"type": "FixedLength"}));
        by.write(b"k\xff", b"v\n", &mut out).unwrap();
        by.write(b"2", b"", &mut out).unwrap();
        assert_eq!(out, b"k\xffv\n2");
    }

    #[test]
    fn a_pair_that_would_read_back_as_another_is_a_bad_record() {
        let by = format(&serde_json::json!({"type": "KeyValue"}));
        for (key, value) in [("a\tb", "v"), ("a\nb", "v"), ("a", "v\n")] {
            assert!(write(&by, key, value).unwrap_err().contains("bad record"), "{key:?} {value:?}");
        }
        assert!(write(&format(&serde_json::json!({"type": "Lines"})), "k", "a\nb").is_err());
    }
}
