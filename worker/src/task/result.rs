//! What a task's pairs become: a part of the output, or pairs for the next step.

use mapreduce_api::ids::AttemptId;
use mapreduce_api::wire::Counters;

use crate::commit::record::Commit;
use crate::error::Result;
use crate::output::{PartWriter, StagedPart};
use crate::record::pairs::{PairsObject, PairsWriter};
use crate::record::skipped::Skipping;
use crate::record::{Emit, MapOutput};
use crate::scratch::{ScratchBytes, ScratchPlace};
use crate::step::RunStep;

/// Writes the result of a task.
#[derive(Debug)]
pub enum ResultWriter {
    /// Of the last step.
    Part(Box<PartWriter>),
    /// Of a step that another one reads.
    Pairs(Box<PairsWriter>),
}

/// A result that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenResult {
    /// A part that is not visible yet.
    Part(StagedPart),
    /// Pairs for the next step.
    Pairs(PairsObject),
}

impl ResultWriter {
    /// Begins the result of a partition, or of a map task without reducers.
    pub fn new(step: &RunStep, partition: u32, attempt: &AttemptId, scratch: &ScratchPlace) -> Result<Self> {
        if step.definition.is_last {
            let part = PartWriter::new(
                &step.spec().output,
                &step.places.output,
                &step.places.staging,
                partition,
                scratch,
            )?;
            return Ok(Self::Part(Box::new(part)));
        }
        let name = format!("{}{partition:05}-{attempt}", step.pairs_prefix());
        Ok(Self::Pairs(Box::new(step.places.pairs.create(name, step.spec().shuffle.compression)?)))
    }

    /// Pairs that can't be written in the output's format are left out.
    #[must_use]
    pub fn leaving_out(self, skipping: Option<Skipping>) -> Self {
        match self {
            Self::Part(part) => Self::Part(Box::new(part.leaving_out(skipping))),
            Self::Pairs(pairs) => Self::Pairs(pairs),
        }
    }

    /// Ends the result.
    pub fn finish(self) -> Result<WrittenResult> {
        match self {
            Self::Part(part) => part.finish().map(WrittenResult::Part),
            Self::Pairs(pairs) => pairs.finish().map(WrittenResult::Pairs),
        }
    }
}

impl Emit for ResultWriter {
    #[inline]
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::Part(part) => part.emit(key, value),
            Self::Pairs(pairs) => pairs.emit(key, value),
        }
    }

    fn emit_large(&mut self, key: &[u8], value: &ScratchBytes) -> Result<()> {
        match self {
            Self::Part(part) => part.emit_large(key, value),
            Self::Pairs(pairs) => pairs.emit_large(key, value),
        }
    }
}

/// Takes what a map function emits as the result: in a step without reducers.
#[derive(Debug)]
pub struct MapOnlyOutput {
    /// The result.
    pub writer: ResultWriter,
    /// Pairs that were emitted, those too that could not be written and were left out.
    pub emitted: u64,
}

impl Emit for MapOnlyOutput {
    #[inline]
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.emitted += 1;
        self.writer.emit(key, value)
    }
}

impl MapOutput for MapOnlyOutput {}

impl WrittenResult {
    /// The pairs.
    pub fn records(&self) -> u64 {
        match self {
            Self::Part(part) => part.records,
            Self::Pairs(pairs) => pairs.records,
        }
    }

    /// Adds it, and what was done for it, to an attempt's record.
    pub fn add_to(self, record: &mut Commit, counters: &Counters) {
        record.counters.add(counters);
        match self {
            Self::Part(part) => record.parts.push(part),
            Self::Pairs(pairs) => record.pairs.push(pairs),
        }
    }

    /// Counts its bytes: pairs for the next step are intermediate data.
    pub fn count(&self, counters: &mut Counters) {
        match self {
            Self::Part(part) => counters.output_bytes += part.bytes,
            Self::Pairs(pairs) => counters.shuffle_bytes += pairs.bytes,
        }
    }
}
