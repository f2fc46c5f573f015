//! Csv input: rows as JSON objects.
//!
//! A field in quotes may hold delimiters, newlines and quotes, written twice (RFC 4180); a row ends
//! with `\n`, `\r\n` or `\r`, and empty lines are not rows. A row begins only where the one before has
//! ended, so that an object is read by one task.

use std::io::Read;
use std::sync::Arc;

use csv_core::ReadRecordResult;

use super::large::grow;
use super::rows::{Columns, Rows};
use super::source::ObjectReader;
use crate::error::{Error, Result};
use crate::memory::LargeRecord;
use crate::record::json::push_string;
use crate::record::lines::Lines;
use crate::record::row::Row;
use crate::record::skipped::LOOKED_AT;
use crate::record::split::{RecordLimit, Url};
use crate::record::utf_16::{UTF_16, is_utf_16};

/// Bytes of a chunk of rows.
const CHUNK_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the rows of an object, a chunk at a time.
pub(super) struct CsvReader {
    input: CsvBuffer,
    parser: csv_core::Reader,
    /// The fields of the row read last, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// Its own text: what of it is in the buffer no more, as much as is shown, and where the rest begins there.
    gone: Vec<u8>,
    from: usize,
    url: Url,
    most: RecordLimit,
    /// Whether the first row names the columns.
    header: bool,
    columns: Option<Columns>,
    key_column: Option<Arc<str>>,
    number: u64,
    rows: Rows,
    /// Held while there is a large row.
    large: Option<LargeRecord>,
}

/// Content: `used..filled` of the buffer is not parsed yet.
struct CsvBuffer {
    content: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
    /// Where in the content the buffer begins.
    offset: u64,
    at_end: bool,
}

impl CsvBuffer {
    fn position(&self) -> u64 {
        self.offset + self.used as u64
    }

    /// Reads more after what is there; false at the end.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.used..self.filled, 0);
        self.offset += self.used as u64;
        self.filled -= self.used;
        self.used = 0;
        let got = self.content.read(&mut self.buffer[self.filled..])?;
        self.filled += got;
        self.at_end = got == 0;
        Ok(got > 0)
    }

    /// Skips the mark with which some programs begin a text.
    fn skip_mark(&mut self) -> Result<()> {
        while self.filled < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.buffer[..self.filled].starts_with(BYTE_ORDER_MARK) {
            self.used = BYTE_ORDER_MARK.len();
        }
        Ok(())
    }

    /// Goes to the next row's first byte; false at the end.
    fn skip_newlines(&mut self) -> Result<bool> {
        loop {
            let is_newline = |byte: &u8| matches!(byte, b'\r' | b'\n');
            let rest = &self.buffer[self.used..self.filled];
            self.used += rest.iter().take_while(|byte| is_newline(byte)).count();
            if self.used < self.filled {
                return Ok(true);
            }
            if !self.fill()? {
                return Ok(false);
            }
        }
    }
}

impl CsvReader {
    /// The rows of an object. `buffer` is memory to use again.
    pub(super) fn new(
        source: ObjectReader,
        header: bool,
        delimiter: u8,
        key_column: Option<Arc<str>>,
        most: RecordLimit,
        url: Url,
        mut buffer: Vec<u8>,
    ) -> Result<Self> {
        if buffer.len() < CHUNK_BYTES {
            buffer.resize(CHUNK_BYTES, 0);
        }
        let mut input =
            CsvBuffer { content: source.content, buffer, used: 0, filled: 0, offset: 0, at_end: false };
        input.skip_mark()?;
        if is_utf_16(&input.buffer[..input.filled]) {
            return Err(Error::permanent(format!("{url}: {UTF_16}")));
        }
        let mut reader = Self {
            input,
            parser: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            fields: vec![0; 1 << 10],
            ends: vec![0; 16],
            gone: Vec::new(),
            from: 0,
            url,
            most,
            header,
            columns: None,
            key_column,
            number: 0,
            rows: Rows::default(),
            large: None,
        };
        if header {
            reader.read_header()?;
        }
        Ok(reader)
    }

    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.input.buffer
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::permanent(format!("{}: {what}", self.url))
    }

    fn read_header(&mut self) -> Result<()> {
        let Some((_, count)) = self.next_row()? else { return Ok(()) };
        let names: Result<Vec<Arc<str>>, _> =
            (0..count).map(|i| std::str::from_utf8(self.field(i)).map(Arc::from)).collect();
        let names = names.map_err(|error| self.error(format!("the header is not valid UTF-8: {error}")))?;
        let columns = Columns::new(names).map_err(|error| self.error(error))?;
        if let Some(key) = &self.key_column
            && columns.position(key).is_none()
        {
            return Err(self.error(format!("there is no column `{key}`: there are {}", columns.shown())));
        }
        self.columns = Some(columns);
        Ok(())
    }

    fn field(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.fields[start..self.ends[i]]
    }

    /// Reads a row into `fields`: where it begins and how many fields it has.
    fn next_row(&mut self) -> Result<Option<(u64, usize)>> {
        if !self.input.skip_newlines()? {
            return Ok(None);
        }
        let start = self.input.position();
        self.gone.clear();
        self.from = self.input.used;
        let (mut bytes, mut count) = (0, 0);
        loop {
            if self.input.used == self.input.filled && !self.input.at_end {
                let rest = &self.input.buffer[self.from..self.input.filled];
                self.gone
                    .extend_from_slice(&rest[..rest.len().min(LOOKED_AT.saturating_sub(self.gone.len()))]);
                self.input.fill()?;
                self.from = 0;
            }
            // The last row may have no newline; in a field in quotes one more changes nothing.
            let at_end = self.input.used == self.input.filled;
            let text = if at_end { b"\n" } else { &self.input.buffer[self.input.used..self.input.filled] };
            let (result, used, written, ended) =
                self.parser.read_record(text, &mut self.fields[bytes..], &mut self.ends[count..]);
            self.input.used += if at_end { 0 } else { used };
            bytes += written;
            count += ended;
            if self.input.position() - start > self.most.bytes {
                return Err(self.most.exceeded(&self.url, start));
            }
            match result {
                ReadRecordResult::Record => return Ok(Some((start, count))),
                ReadRecordResult::OutputFull => grow(&mut self.fields, &mut self.large, self.most.bytes),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::InputEmpty if at_end => {
                    return Err(Error::bad_record("a quote is not closed", &self.url, start));
                }
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::End => return Ok(None),
            }
        }
    }

    /// Gives back what a large row has taken.
    fn shrink(&mut self) {
        if self.large.is_some() {
            self.fields = vec![0; CHUNK_BYTES];
            self.rows.clear();
            self.large = None;
        }
    }

    /// The next rows; none at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<(Lines<'_>, &[Row])>> {
        self.shrink();
        self.rows.clear();
        while self.rows.text.len() < CHUNK_BYTES {
            let Some((offset, count)) = self.next_row()? else { break };
            self.number += 1;
            self.push_row(offset, count);
        }
        Ok(self.rows.chunk())
    }

    fn push_row(&mut self, offset: u64, count: usize) {
        let start = self.rows.text.len();
        let number = self.number;
        let (key, bad) = match self.write_row(count) {
            Ok(key) => (key, None),
            Err(reason) => {
                self.rows.text.truncate(start);
                self.rows.text.extend_from_slice(&self.gone);
                self.rows.text.extend_from_slice(&self.input.buffer[self.from..self.input.used]);
                while let [.., b'\r' | b'\n'] = self.rows.text[start..] {
                    self.rows.text.pop();
                }
                (None, Some(reason.into()))
            }
        };
        let value = (start, key.map_or(self.rows.text.len(), |(from, _)| from));
        self.rows.rows.push(Row { number, offset, key, value, bad });
    }

    /// Writes the row as JSON, then its key; where the key is.
    fn write_row(&mut self, count: usize) -> Result<Option<(usize, usize)>, String> {
        match &self.columns {
            Some(columns) if columns.len() == count => {}
            Some(columns) if self.header => {
                return Err(format!("the row has {count} fields, the header has {}", columns.len()));
            }
            _ => self.columns = Some(Columns::numbered(count)),
        }
        let Some(columns) = &self.columns else { return Ok(None) };
        let Rows { text, .. } = &mut self.rows;
        if self.large.is_some() {
            // It takes no memory before it is filled, and nothing is copied when it grows.
            text.reserve_exact(self.fields.len() * 2);
        }
        let mut from = 0;
        for i in 0..count {
            let field = std::str::from_utf8(&self.fields[from..self.ends[i]])
                .map_err(|error| format!("field {} is not valid UTF-8: {error}", i + 1))?;
            columns.begin(i, text);
            push_string(text, field);
            from = self.ends[i];
        }
        text.push(b'}');
        let Some(key) = &self.key_column else { return Ok(None) };
        let at = columns.position(key).ok_or_else(|| format!("the row has no column `{key}`"))?;
        let start = text.len();
        let first = if at == 0 { 0 } else { self.ends[at - 1] };
        text.extend_from_slice(&self.fields[first..self.ends[at]]);
        Ok(Some((start, text.len())))
    }
}

#[cfg(test)]
mod tests;
