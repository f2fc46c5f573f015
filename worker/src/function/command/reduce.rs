//! A command as a reduce or combine function.

use super::lines::OutputLines;
use super::{ChildProcess, CommandFunction, WRITE_BYTES};
use crate::error::{Error, Result, excerpt};
use crate::function::context::TaskContext;
use crate::function::role::Role;
use crate::record::{Emit, Reducer, Values};

/// Writes the pairs of all groups to one process; what it answers belongs to no group.
pub(super) struct CommandReducer {
    function: CommandFunction,
    context: TaskContext,
    process: Option<ChildProcess>,
    /// Pairs that are not written yet.
    lines: Vec<u8>,
}

impl CommandReducer {
    pub(super) fn new(function: CommandFunction, context: TaskContext) -> Self {
        Self { function, context, process: None, lines: Vec::new() }
    }

    fn write(&mut self, out: &mut dyn Emit) -> Result<()> {
        if let Some(process) = &mut self.process {
            process.write(&self.lines, &mut OutputLines(out))?;
        }
        self.lines.clear();
        Ok(())
    }

    fn ensure_started(&mut self) -> Result<()> {
        if self.process.is_none() {
            self.process = Some(self.function.start(&self.context, None)?);
        }
        Ok(())
    }
}

impl Reducer for CommandReducer {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        self.ensure_started()?;
        if memchr::memchr2(b'\t', b'\n', key).is_some() {
            while values.next()?.is_some() {
                values.bad(bad("a key", key, "a TAB or a newline"))?;
            }
            return Ok(());
        }
        while let Some(value) = values.next()? {
            if memchr::memchr(b'\n', value).is_some() {
                let error = bad("a value", value, "a newline");
                values.bad(error)?;
                continue;
            }
            self.lines.extend_from_slice(key);
            self.lines.push(b'\t');
            self.lines.extend_from_slice(value);
            self.lines.push(b'\n');
            if self.lines.len() >= WRITE_BYTES {
                self.write(out)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<()> {
        // A partition without pairs is still one that the command may have to say something about.
        if self.function.0.role == Role::Reduce {
            self.ensure_started()?;
        }
        self.write(out)?;
        match self.process.take() {
            Some(mut process) => process.end(&mut OutputLines(out)),
            None => Ok(()),
        }
    }
}

fn bad(what: &str, text: &[u8], holds: &str) -> Error {
    let shown = excerpt(text);
    Error::permanent(format!("bad record: {what} holds {holds}, and a command reads lines: `{shown}`"))
}
