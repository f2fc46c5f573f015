//! What is done to records and groups: the traits of functions.
//!
//! A [`Mapper`] gets chunks of records and emits pairs; a [`Reducer`] gets a key and its values,
//! one at a time, so that a group may be larger than memory. A combiner is a reducer that is
//! applied any number of times to parts of a group.

use super::chunk::{Chunk, Record};
use super::emit::Emit;
use super::hashed::HashedKey;
use super::split::Split;
use crate::error::{Error, Result};

/// The values of a key, one at a time.
pub trait Values {
    /// The next value; none at the end of the group.
    fn next(&mut self) -> Result<Option<&[u8]>>;

    /// Says that the value last handed out is bad. That is the given error, unless bad values are
    /// left out: then the function goes on with the next one.
    fn bad(&mut self, error: Error) -> Result<()> {
        Err(error)
    }
}

/// What a map function emits into. It is a parameter of [`Mapper`], and not a `dyn`: built-in functions emit
/// hundreds of millions of pairs a second.
pub trait MapOutput: Emit + Sized {
    /// Takes a pair whose value is `1`.
    fn emit_one(&mut self, key: &[u8]) -> Result<()> {
        self.emit(key, b"1")
    }

    /// Whether equal keys are added up in a table as they come: then [`Self::add_ones`] is the fastest way.
    fn adds_up(&self) -> bool {
        false
    }

    /// Takes a pair whose value is `1` for each of these keys: best of some ten at once.
    fn add_ones(&mut self, keys: &[HashedKey<'_>]) -> Result<()> {
        keys.iter().try_for_each(|key| self.emit_one(key.bytes))
    }

    /// Takes `times` pairs of one key, whose values are `1`.
    fn emit_one_times(&mut self, key: &[u8], times: u64) -> Result<()> {
        (0..times).try_for_each(|_| self.emit_one(key))
    }
}

/// A map function. One is made for each attempt at a task.
pub trait Mapper<O: MapOutput>: Send {
    /// The records that follow are of this split.
    fn begin(&mut self, _split: &Split, _out: &mut O) -> Result<()> {
        Ok(())
    }

    /// Maps a record.
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()>;

    /// Maps all records of a chunk and says how many there were. A function that needs no records
    /// may look at the chunk's bytes instead.
    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut O) -> Result<u64> {
        chunk.each(|record| self.map(&record, out).map_err(|error| at_record(error, chunk, record.offset)))
    }

    /// Whether what it complains of is always the record at hand.
    fn complains_at_once(&self) -> bool {
        true
    }

    /// Ends the task: what is still to be emitted.
    fn finish(&mut self, _out: &mut O) -> Result<()> {
        Ok(())
    }
}

/// A reduce or combine function. One is made for each attempt at a task.
pub trait Reducer: Send {
    /// Reduces the values of a key. Values that it does not take are passed over.
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()>;

    /// Ends the task, or what is combined at once: what is still to be emitted. A combiner goes on
    /// with other groups then.
    fn finish(&mut self, _out: &mut dyn Emit) -> Result<()> {
        Ok(())
    }
}

/// Says which record a function's complaint is about.
pub(crate) fn at_record(error: Error, chunk: &Chunk<'_>, offset: u64) -> Error {
    if error.kind() == crate::error::ErrorKind::Permanent && error.report().record.is_none() {
        return error.at(chunk.url, offset).showing(chunk.text_at(offset));
    }
    error
}
