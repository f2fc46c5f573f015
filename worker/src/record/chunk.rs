//! Whole records of one object, and how a function looks at each of them.

use super::block::record_at;
use super::format::{Format, RecordKind};
use super::json::{self, Path};
use super::key::Key;
use super::lines::Lines;
use super::row::Row;
use super::split::Url;
use super::utf_16::{UTF_16, is_utf_16};
use crate::error::{Error, Result};

/// A record as a map function gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The key.
    pub key: Key<'a>,
    /// The value.
    pub value: &'a [u8],
    /// Where in the object's content it begins.
    pub offset: u64,
}

/// Whole records of one object.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Their bytes.
    pub lines: Lines<'a>,
    /// Where in them the rows of a table are; none where the bytes themselves are cut.
    pub(crate) rows: &'a [Row],
    /// What a record of them is.
    pub format: &'a Format,
    /// The object.
    pub url: &'a Url,
}

/// A record that can't be given to a function.
#[derive(Debug)]
pub struct BadRecord<'a> {
    /// Why not.
    pub error: Box<Error>,
    /// The bytes.
    pub text: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Records whose bytes are one after the other.
    pub fn new(lines: Lines<'a>, format: &'a Format, url: &'a Url) -> Self {
        Self { lines, rows: &[], format, url }
    }

    /// Calls `f` with each record; says how many there were. A bad record is an error.
    #[inline]
    pub fn each(&self, mut f: impl FnMut(Record<'_>) -> Result<()>) -> Result<u64> {
        self.each_or_bad(|found| match found {
            Ok(record) => f(record),
            Err(bad) => Err((*bad.error).showing(bad.text)),
        })
    }

    /// Calls `f` with each record, be it good or bad; says how many there were.
    #[inline]
    pub fn each_or_bad(
        &self,
        mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>,
    ) -> Result<u64> {
        match &self.format.record {
            RecordKind::Line { crlf } => {
                let crlf = *crlf;
                self.each_line(crlf, |line| {
                    f(line.map(|(offset, line)| Record { key: Key::Number(offset), value: line, offset }))
                })
            }
            RecordKind::KeyValue { separator } => self.each_line(true, |line| {
                let (offset, line) = match line {
                    Ok(line) => line,
                    Err(bad) => return f(Err(bad)),
                };
                let at = match separator[..] {
                    [byte] => memchr::memchr(byte, line),
                    _ => memchr::memmem::find(line, separator),
                };
                let (key, value) = match at {
                    Some(at) => (&line[..at], &line[at + separator.len()..]),
                    None => (line, &b""[..]),
                };
                f(Ok(Record { key: Key::Bytes(key), value, offset }))
            }),
            RecordKind::FixedLength { record, key } => {
                let records = self.lines.bytes.chunks_exact(*record);
                let count = records.len() as u64;
                for (offset, record) in (self.lines.offset..).step_by(*record).zip(records) {
                    let (key, value) = record.split_at(*key);
                    f(Ok(Record { key: Key::Bytes(key), value, offset }))?;
                }
                Ok(count)
            }
            RecordKind::JsonLines { pointer } => self.each_json(pointer.as_ref(), f),
            RecordKind::Csv { .. } | RecordKind::Parquet(_) => self.each_row(f),
            RecordKind::WholeFile => {
                let key = Key::Bytes(self.url.as_bytes());
                f(Ok(Record { key, value: self.lines.bytes, offset: 0 }))?;
                Ok(1)
            }
            RecordKind::Pair(_) => self.each_pair(f),
        }
    }

    /// The lines that are not blank, as JSON texts.
    fn each_json(
        &self,
        pointer: Option<&Path>,
        mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>,
    ) -> Result<u64> {
        let mut count = 0;
        self.each_line(true, |line| {
            let (offset, line) = match line {
                Ok(line) => line,
                Err(bad) => return f(Err(bad)),
            };
            if line.trim_ascii().is_empty() {
                return Ok(());
            }
            count += 1;
            let bad = |reason: String| BadRecord {
                error: Error::bad_record(reason, self.url, offset).into(),
                text: line,
            };
            let no_json = |error: serde_json::Error| bad(format!("no JSON: {error}"));
            let text = match std::str::from_utf8(line) {
                // Some programs begin a text with a mark.
                Ok(text) if offset == 0 => text.strip_prefix('\u{feff}').unwrap_or(text),
                Ok(text) => text,
                Err(_) if offset == 0 && is_utf_16(line) => return f(Err(bad(UTF_16.to_owned()))),
                Err(error) => return f(Err(bad(error.to_string()))),
            };
            let Some(pointer) = pointer else {
                let checked = json::check(text).map_err(no_json);
                return f(checked.map(|()| Record {
                    key: Key::Number(offset),
                    value: text.as_bytes(),
                    offset,
                }));
            };
            let key = json::find(text, [pointer])
                .and_then(|[member]| member.map(json::plain).transpose())
                .map_err(no_json)
                .and_then(|key| key.ok_or_else(|| bad(format!("the record has no `{pointer}`"))));
            match key {
                Ok(key) => f(Ok(Record { key: Key::Bytes(key.as_bytes()), value: text.as_bytes(), offset })),
                Err(bad) => f(Err(bad)),
            }
        })?;
        Ok(count)
    }

    #[inline]
    fn each_pair(&self, mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>) -> Result<u64> {
        let Lines { bytes: block, offset, .. } = self.lines;
        let (mut at, mut count) = (0, 0);
        while at < block.len() {
            let span = record_at(block, at)?;
            let key = Key::Bytes(&block[span.key..span.value]);
            f(Ok(Record { key, value: &block[span.value..span.end], offset }))?;
            at = span.end;
            count += 1;
        }
        Ok(count)
    }

    /// The text of the record at `offset`, or the beginning of it.
    pub(crate) fn text_at(&self, offset: u64) -> &[u8] {
        if let Some(row) = self.rows.iter().find(|row| row.offset == offset) {
            return &self.lines.bytes[row.value.0..row.value.1];
        }
        let from = usize::try_from(offset.saturating_sub(self.lines.offset)).unwrap_or(usize::MAX);
        let rest = self.lines.bytes.get(from..).unwrap_or_default();
        let delimiter = self.format.delimiter.bytes();
        match &self.format.record {
            RecordKind::Line { .. } | RecordKind::KeyValue { .. } | RecordKind::JsonLines { .. } => {
                &rest[..memchr::memmem::find(rest, delimiter).unwrap_or(rest.len())]
            }
            RecordKind::FixedLength { record, .. } => &rest[..rest.len().min(*record)],
            _ => rest,
        }
    }

    fn each_row(&self, mut f: impl FnMut(Result<Record<'_>, BadRecord<'_>>) -> Result<()>) -> Result<u64> {
        for row in self.rows {
            let text = |(from, to): (usize, usize)| &self.lines.bytes[from..to];
            if let Some(reason) = &row.bad {
                let error = Error::bad_record(&**reason, self.url, row.offset);
                f(Err(BadRecord { error: error.into(), text: text(row.value) }))?;
                continue;
            }
            let key = row.key.map_or(Key::Number(row.number), |key| Key::Bytes(text(key)));
            f(Ok(Record { key, value: text(row.value), offset: row.offset }))?;
        }
        Ok(self.rows.len() as u64)
    }

    /// The lines with their offsets, without their delimiters and, with `crlf`, without a `\r`
    /// before one.
    #[inline]
    fn each_line(
        &self,
        crlf: bool,
        mut f: impl FnMut(Result<(u64, &'a [u8]), BadRecord<'a>>) -> Result<()>,
    ) -> Result<u64> {
        let Lines { bytes, offset, .. } = self.lines;
        let delimiter = self.format.delimiter.bytes();
        let most = self.format.max_record;
        let (mut from, mut count) = (0, 0);
        let mut line = |from: usize, to: usize| {
            let (begin, text) = (offset + from as u64, &bytes[from..to]);
            if text.len() as u64 > most.bytes {
                return f(Err(BadRecord { error: most.exceeded(self.url, begin).into(), text }));
            }
            count += 1;
            f(Ok((begin, text)))
        };
        if let [byte] = *delimiter {
            for at in memchr::memchr_iter(byte, bytes) {
                let cut = usize::from(crlf && at > from && bytes[at - 1] == b'\r');
                line(from, at - cut)?;
                from = at + 1;
            }
        } else {
            for at in memchr::memmem::find_iter(bytes, delimiter) {
                line(from, at)?;
                from = at + delimiter.len();
            }
        }
        if from < bytes.len() {
            line(from, bytes.len())?;
        }
        Ok(count)
    }

    /// Whether the records may be looked at without cutting them: none can be too long.
    pub fn is_plain(&self) -> bool {
        self.format.is_plain_lines() && self.lines.bytes.len() as u64 <= self.format.max_record.bytes
    }

    /// How many lines there are, where each ends with a newline.
    pub fn count_lines(&self) -> u64 {
        let bytes = self.lines.bytes;
        let ended = memchr::memchr_iter(b'\n', bytes).count();
        (ended + usize::from(bytes.last().is_some_and(|&last| last != b'\n'))) as u64
    }
}
