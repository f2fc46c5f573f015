//! A script as a map function.

use super::engine::{self, Calls, Engine};
use super::host::{EmittedPairs, JsCall};
use crate::error::{Error, Result, excerpt};
use crate::function::context::TaskContext;
use crate::function::script::ScriptFunction;
use crate::record::chunk::{Chunk, Record};
use crate::record::split::Split;
use crate::record::{Emit, MapOutput, Mapper};

/// Calls the script for each record.
pub(in crate::function::script) struct JavaScriptMapper {
    function: ScriptFunction,
    context: TaskContext,
    engine: Option<Engine>,
    url: String,
    pairs: EmittedPairs,
}

impl JavaScriptMapper {
    pub(in crate::function::script) fn new(function: ScriptFunction, context: TaskContext) -> Self {
        Self { function, context, engine: None, url: String::new(), pairs: EmittedPairs::default() }
    }

    /// Has the script called, and hands on what it emits.
    fn call<R>(
        &mut self,
        out: &mut dyn Emit,
        work: impl FnOnce(&Calls<'_, '_>) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let pairs = std::mem::take(&mut self.pairs);
        let hold = self.context.skipping.is_some();
        let mut call = JsCall { out, values: None, group: 0, pairs, hold, error: None };
        let done = engine.with(&mut call, work)?;
        call.flush()?;
        self.pairs = call.pairs;
        Ok(Some(done))
    }
}

/// Calls the script for a record.
fn map(calls: &Calls<'_, '_>, record: &Record<'_>, url: &str, number: &mut Vec<u8>) -> Result<()> {
    let bad = |what: &str, text: &[u8]| {
        Error::bad_record(format!("its {what} is not valid UTF-8: `{}`", excerpt(text)), url, record.offset)
    };
    let key = record.key.to_bytes(number);
    let key = std::str::from_utf8(key).map_err(|_| bad("key", key))?;
    let value = std::str::from_utf8(record.value).map_err(|_| bad("value", record.value))?;
    calls.at(record.offset);
    calls.map(key, value).map_err(|error| error.about(url, record.offset).showing(record.value))
}

impl<O: MapOutput> Mapper<O> for JavaScriptMapper {
    fn begin(&mut self, split: &Split, _out: &mut O) -> Result<()> {
        self.url.clone_from(&split.url);
        if self.engine.is_none() {
            self.engine = Some(super::start(&self.function, &self.context)?);
        }
        if let Some(engine) = &self.engine {
            // A part of a compressed object doesn't know how many bytes are before it.
            engine.reads(split.codec.is_none().then_some(&split.url));
        }
        Ok(())
    }

    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        let url = self.url.clone();
        self.call(out, |calls| map(calls, record, &url, &mut Vec::new())).map(drop)
    }

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
        let mut number = Vec::new();
        let mapped =
            self.call(out, |calls| chunk.each(|record| map(calls, &record, chunk.url, &mut number)))?;
        Ok(mapped.unwrap_or_default())
    }

    fn complains_at_once(&self) -> bool {
        false
    }

    fn finish(&mut self, out: &mut O) -> Result<()> {
        if let Some(engine) = &self.engine {
            engine.reads(None);
        }
        self.call(out, engine::teardown)?;
        self.engine = None;
        Ok(())
    }
}
