//! A component as a map function.

use super::WasmFunction;
use super::host::{HeldPairs, Nowhere};
use super::instance::Instance;
use super::strings::Strings;
use crate::error::{Error, Result};
use crate::function::context::{TaskContext, UserCounters};
use crate::record::chunk::{Chunk, Record};
use crate::record::split::Split;
use crate::record::{Emit, MapOutput, Mapper};

/// Calls the component for many records at once.
pub(super) struct WasmMapper {
    function: WasmFunction,
    context: TaskContext,
    /// None after it failed: what it has in memory can't be trusted then.
    instance: Option<Instance>,
    url: String,
    records: Strings,
    offsets: Vec<u64>,
    number: Vec<u8>,
}

impl WasmMapper {
    pub(super) fn new(function: WasmFunction, context: TaskContext) -> Self {
        Self {
            function,
            context,
            instance: None,
            url: String::new(),
            records: Strings::default(),
            offsets: Vec::new(),
            number: Vec::new(),
        }
    }

    fn push(&mut self, record: &Record<'_>) -> Result<()> {
        self.offsets.push(record.offset);
        self.records.push(record.key.to_bytes(&mut self.number))?;
        self.records.push(record.value)
    }

    /// Has the component map the records that were collected.
    fn flush(&mut self, out: &mut dyn Emit) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let mut instance = self.take_instance()?;
        let done = if self.context.skipping.is_some() {
            let mut held = HeldPairs::default();
            instance.map(&self.records, &mut held).map(|()| held)
        } else {
            instance.map(&self.records, out).map(|()| HeldPairs::default())
        };
        let done = match done {
            Ok(held) => {
                self.instance = Some(instance);
                held.write(out)
            }
            Err(error) if error.is_bad_record() => Err(self.find_bad(error)),
            Err(error) => Err(error),
        };
        self.records.clear();
        self.offsets.clear();
        done
    }

    fn take_instance(&mut self) -> Result<Instance> {
        match self.instance.take() {
            Some(instance) => Ok(instance),
            None => Instance::new(&self.function, &self.context),
        }
    }

    /// Says which record an error is about: the first that another instance fails at, by itself. A function that
    /// fails at none of them has failed by what came before: its first record is named then.
    fn find_bad(&self, error: Error) -> Error {
        let first = self.offsets.first().copied().unwrap_or_default();
        let Strings { bytes, ends } = &self.records;
        let first_value = match ends[..] {
            [key, value, ..] => &bytes[key as usize..value as usize],
            _ => &[],
        };
        let error = error.about(&self.url, first).showing(first_value);
        if self.offsets.len() == 1 {
            return error;
        }
        let mut context = self.context.clone();
        // They were counted.
        context.counters = UserCounters::default();
        let Ok(mut instance) = Instance::new(&self.function, &context) else {
            return error;
        };
        let mut from = 0;
        for (offset, end) in self.offsets.iter().zip(ends.as_chunks::<2>().0) {
            let [key, value] = end.map(|end| end as usize);
            let record = Strings {
                bytes: bytes[from..value].to_vec(),
                ends: vec![(key - from) as u32, (value - from) as u32],
            };
            if let Err(found) = instance.map(&record, &mut Nowhere) {
                return found.about(&self.url, *offset).showing(&bytes[key..value]);
            }
            from = value;
        }
        error
    }
}

impl<O: MapOutput> Mapper<O> for WasmMapper {
    fn begin(&mut self, split: &Split, _out: &mut O) -> Result<()> {
        self.url.clone_from(&split.url);
        Ok(())
    }

    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        self.push(record)?;
        self.flush(out)
    }

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
        let count = chunk.each(|record| {
            self.push(&record)?;
            if self.records.is_full() { self.flush(out) } else { Ok(()) }
        })?;
        self.flush(out)?;
        Ok(count)
    }

    fn complains_at_once(&self) -> bool {
        false
    }

    fn finish(&mut self, out: &mut O) -> Result<()> {
        match self.instance.take() {
            Some(mut instance) => instance.teardown(out),
            None => Ok(()),
        }
    }
}
