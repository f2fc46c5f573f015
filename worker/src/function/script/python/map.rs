//! A script as a map function.

use std::sync::Arc;

use super::Python;
use super::frame::{FrameBody, FrameHeader, HEADER_BYTES, KEYS_SIZED, VALUES_SIZED};
use crate::error::{Error, Result, excerpt};
use crate::function::context::TaskContext;
use crate::function::script::ScriptFunction;
use crate::record::chunk::Record;
use crate::record::key::Key;
use crate::record::split::Split;
use crate::record::{Emit, MapOutput, Mapper};

/// Bytes of a batch, and its most records.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_RECORDS: usize = 8192;

/// Sends records in batches to one process.
pub(in crate::function::script) struct PythonMapper {
    function: ScriptFunction,
    context: TaskContext,
    python: Option<Python>,
    url: Arc<str>,
    keys: FrameBody,
    values: FrameBody,
    offsets: Vec<u64>,
    message: Vec<u8>,
}

impl PythonMapper {
    pub(in crate::function::script) fn new(function: ScriptFunction, context: TaskContext) -> Self {
        Self {
            function,
            context,
            python: None,
            url: Arc::from(""),
            keys: FrameBody::default(),
            values: FrameBody::default(),
            offsets: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Looks at a record by itself: the others of its batch are fine.
    fn check_utf8(&self, record: &Record<'_>) -> Result<()> {
        let key = if let Key::Bytes(key) = record.key { key } else { b"" };
        for (text, what) in [(key, "key"), (record.value, "value")] {
            if std::str::from_utf8(text).is_err() {
                return Err(self.not_utf8(text, what, record.offset));
            }
        }
        Ok(())
    }

    fn not_utf8(&self, text: &[u8], what: &str, offset: u64) -> Error {
        Error::bad_record(format!("its {what} is not valid UTF-8: `{}`", excerpt(text)), &self.url, offset)
    }

    fn send(&mut self, out: &mut dyn Emit) -> Result<()> {
        if self.offsets.is_empty() {
            return Ok(());
        }
        for (block, what) in [(&self.keys, "key"), (&self.values, "value")] {
            if let Some((number, text)) = block.not_utf8() {
                return Err(self.not_utf8(text, what, self.offsets[number]));
            }
        }
        self.message.clear();
        self.message.resize(HEADER_BYTES, 0);
        let count = self.offsets.len() as u32;
        let (keys, keys_sized) = self.keys.write(&mut self.message);
        let (values, values_sized) = self.values.write(&mut self.message);
        let flags = u8::from(keys_sized) * KEYS_SIZED + u8::from(values_sized) * VALUES_SIZED;
        FrameHeader { kind: b'M', flags, count, keys, values }.put(&mut self.message);
        let offsets = std::mem::take(&mut self.offsets);
        match &mut self.python {
            Some(python) => python.send_records(&self.message, &self.url, offsets, out),
            None => Ok(()),
        }
    }
}

impl<O: MapOutput> Mapper<O> for PythonMapper {
    fn begin(&mut self, split: &Split, out: &mut O) -> Result<()> {
        self.send(out)?;
        self.url = Arc::from(split.url.as_str());
        if self.python.is_none() {
            self.python = Some(Python::start(&self.function, &self.context)?);
        }
        Ok(())
    }

    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        if self.context.skipping.is_some() {
            self.check_utf8(record)?;
        }
        match record.key {
            Key::Number(number) => self.keys.push_number(number),
            Key::Bytes(bytes) => self.keys.push(bytes),
        }
        self.values.push(record.value);
        self.offsets.push(record.offset);
        let full =
            self.keys.bytes() + self.values.bytes() >= BATCH_BYTES || self.offsets.len() >= BATCH_RECORDS;
        if full { self.send(out) } else { Ok(()) }
    }

    fn map_chunk(&mut self, chunk: &crate::record::chunk::Chunk<'_>, out: &mut O) -> Result<u64> {
        // What goes wrong is about a record that was sent before, which the error names itself.
        chunk.each(|record| self.map(&record, out))
    }

    fn complains_at_once(&self) -> bool {
        false
    }

    fn finish(&mut self, out: &mut O) -> Result<()> {
        self.send(out)?;
        match self.python.take() {
            Some(python) => python.end(out),
            None => Ok(()),
        }
    }
}
