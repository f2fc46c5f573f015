//! A script as a reduce or combine function.

use super::super::not_utf8;
use super::Python;
use super::frame::{CONTINUES, FrameBody, FrameHeader, HEADER_BYTES, KEYS_SIZED, MORE, VALUES_SIZED};
use crate::error::Result;
use crate::function::context::TaskContext;
use crate::function::role::Role;
use crate::function::script::ScriptFunction;
use crate::record::{Emit, Reducer, Values};

/// Bytes of a batch, and its most groups.
const BATCH_BYTES: usize = 64 << 10;
const BATCH_GROUPS: usize = 8192;

/// Sends groups in batches to one process; a large one in several.
pub(in crate::function::script) struct PythonReducer {
    function: ScriptFunction,
    context: TaskContext,
    python: Option<Python>,
    keys: FrameBody,
    values: FrameBody,
    /// Values of each group of the batch.
    sizes: Vec<u32>,
    /// Whether the batch's first group began in the batch before.
    continues: bool,
    message: Vec<u8>,
}

impl PythonReducer {
    pub(in crate::function::script) fn new(function: ScriptFunction, context: TaskContext) -> Self {
        Self {
            function,
            context,
            python: None,
            keys: FrameBody::default(),
            values: FrameBody::default(),
            sizes: Vec::new(),
            continues: false,
            message: Vec::new(),
        }
    }

    fn send(&mut self, more: bool, out: &mut dyn Emit) -> Result<()> {
        if self.sizes.is_empty() {
            return Ok(());
        }
        for (block, what) in [(&self.keys, "key"), (&self.values, "value")] {
            if let Some((_, text)) = block.not_utf8() {
                return Err(not_utf8(what, text));
            }
        }
        self.message.clear();
        self.message.resize(HEADER_BYTES, 0);
        self.sizes.iter().for_each(|size| self.message.extend_from_slice(&size.to_le_bytes()));
        let count = self.sizes.len() as u32;
        let (keys, keys_sized) = self.keys.write(&mut self.message);
        let (values, values_sized) = self.values.write(&mut self.message);
        let flags = [keys_sized, values_sized, self.continues, more]
            .into_iter()
            .zip([KEYS_SIZED, VALUES_SIZED, CONTINUES, MORE])
            .fold(0, |flags, (set, flag)| if set { flags | flag } else { flags });
        FrameHeader { kind: b'R', flags, count, keys, values }.put(&mut self.message);
        self.sizes.clear();
        self.continues = more;
        match &mut self.python {
            Some(python) => python.write(&self.message, out),
            None => Ok(()),
        }
    }
}

impl Reducer for PythonReducer {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        if self.python.is_none() {
            self.python = Some(Python::start(&self.function, &self.context)?);
        }
        let careful = self.context.skipping.is_some();
        if careful && std::str::from_utf8(key).is_err() {
            while values.next()?.is_some() {
                values.bad(not_utf8("key", key))?;
            }
            return Ok(());
        }
        self.keys.push(key);
        let mut size = 0;
        while let Some(value) = values.next()? {
            if careful && std::str::from_utf8(value).is_err() {
                let error = not_utf8("value", value);
                values.bad(error)?;
                continue;
            }
            self.values.push(value);
            size += 1;
            if self.values.bytes() >= BATCH_BYTES {
                self.sizes.push(size);
                self.send(true, out)?;
                self.keys.push(key);
                size = 0;
            }
        }
        self.sizes.push(size);
        let full =
            self.keys.bytes() + self.values.bytes() >= BATCH_BYTES || self.keys.count() >= BATCH_GROUPS;
        // A group that began before is ended at once: the script waits for its end.
        if full || self.continues { self.send(false, out) } else { Ok(()) }
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<()> {
        self.send(false, out)?;
        // A combiner goes on with the next groups.
        if self.function.0.role == Role::Combine {
            return self.python.as_mut().map_or(Ok(()), |python| python.sync(out));
        }
        match self.python.take() {
            Some(python) => python.end(out),
            None => Ok(()),
        }
    }
}
