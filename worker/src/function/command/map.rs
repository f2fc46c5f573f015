//! A command as a map function.

use super::lines::OutputLines;
use super::{ChildProcess, CommandFunction, WRITE_BYTES};
use crate::error::{Error, Result};
use crate::function::context::TaskContext;
use crate::record::chunk::{Chunk, Record};
use crate::record::key::Key;
use crate::record::split::Split;
use crate::record::{Emit, MapOutput, Mapper};

/// Runs the command once for each object, or once for all pairs of the step before that a task reads.
pub(super) struct CommandMapper {
    function: CommandFunction,
    context: TaskContext,
    process: Option<ChildProcess>,
    url: String,
    /// Records that are not written yet.
    lines: Vec<u8>,
}

impl CommandMapper {
    pub(super) fn new(function: CommandFunction, context: TaskContext) -> Self {
        Self { function, context, process: None, url: String::new(), lines: Vec::new() }
    }

    fn write(&mut self, out: &mut dyn Emit) -> Result<()> {
        if let Some(process) = &mut self.process {
            process.write(&self.lines, &mut OutputLines(out))?;
        }
        self.lines.clear();
        Ok(())
    }

    fn push(&mut self, value: &[u8], out: &mut dyn Emit) -> Result<()> {
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
        if self.lines.len() >= WRITE_BYTES { self.write(out) } else { Ok(()) }
    }
}

const KEY: &str = "its key holds a TAB or a newline, and a command reads lines";
const NEWLINE: &str = "it holds a newline, and a command reads lines";

impl<O: MapOutput> Mapper<O> for CommandMapper {
    fn begin(&mut self, split: &Split, out: &mut O) -> Result<()> {
        // The command is told which object it reads.
        let pairs = self.context.reads_pairs;
        if self.process.is_none() || (self.url != split.url && !pairs) {
            self.finish(out)?;
            self.process = Some(self.function.start(&self.context, Some(split).filter(|_| !pairs))?);
        }
        self.url.clone_from(&split.url);
        Ok(())
    }

    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        if self.context.reads_pairs
            && let Key::Bytes(key) = record.key
        {
            if memchr::memchr2(b'\t', b'\n', key).is_some() {
                return Err(Error::bad_record(KEY, &self.url, record.offset).showing(key));
            }
            self.lines.extend_from_slice(key);
            self.lines.push(b'\t');
        }
        if memchr::memchr(b'\n', record.value).is_some() {
            return Err(Error::bad_record(NEWLINE, &self.url, record.offset).showing(record.value));
        }
        self.push(record.value, out)
    }

    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
        let bytes = chunk.lines.bytes;
        if !chunk.is_plain() || memchr::memchr(b'\r', bytes).is_some() {
            // What goes wrong in between is about output, and not about the record at hand.
            return chunk.each(|record| self.map(&record, out));
        }
        // The chunk is what the command is to read.
        self.write(out)?;
        if let Some(process) = &mut self.process {
            process.write(bytes, &mut OutputLines(out))?;
        }
        if bytes.last().is_some_and(|&last| last != b'\n') {
            self.lines.push(b'\n');
        }
        Ok(chunk.count_lines())
    }

    fn complains_at_once(&self) -> bool {
        false
    }

    fn finish(&mut self, out: &mut O) -> Result<()> {
        self.write(out)?;
        match self.process.take() {
            Some(mut process) => process.end(&mut OutputLines(out)),
            None => Ok(()),
        }
    }
}
