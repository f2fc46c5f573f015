//! What is done to records and groups.
//!
//! A [`Mapper`] gets chunks of records and emits pairs; a [`Reducer`] gets a key and its values,
//! one at a time, so that a group may be larger than memory. A combiner is a reducer that is
//! applied any number of times to parts of a group.

pub mod builtin;
mod careful;
pub mod command;
pub mod context;
pub mod kind;
mod last_resort;
mod limits;
pub mod number;
mod process;
pub mod script;
mod stored;
#[cfg_attr(not(feature = "wasm"), path = "wasm_left_out.rs")]
pub mod wasm;

use mapreduce_api::v1alpha1::{Function, MapReduceJobSpec};

pub use self::careful::map_careful;
pub use self::context::TaskContext;
pub use self::kind::{MapFunction, ReduceFunction, Role};
pub use self::last_resort::LastResort;
use crate::error::{Error, Result};
use crate::input::format::{Chunk, Record};
use crate::input::source::Split;
use crate::shuffle::collector::Collector;

/// A key and a value.
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// Takes pairs.
pub trait Emit {
    /// Takes a pair.
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Takes pairs.
    fn emit_all(&mut self, pairs: &[Pair<'_>]) -> Result<()> {
        pairs.iter().try_for_each(|(key, value)| self.emit(key, value))
    }
}

/// Emits pairs as they come, some at a time: what takes them may have to wait for memory, and waits once.
fn emit_each<'a>(pairs: impl IntoIterator<Item = Result<Pair<'a>>>, out: &mut dyn Emit) -> Result<()> {
    let (mut batch, mut count) = ([Pair::default(); 32], 0);
    for pair in pairs {
        batch[count] = pair?;
        count += 1;
        if count == batch.len() {
            out.emit_all(&batch)?;
            count = 0;
        }
    }
    out.emit_all(&batch[..count])
}

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

/// A map function. One is made for each attempt at a task.
pub trait Mapper: Send {
    /// The records that follow are of this split.
    fn begin(&mut self, _split: &Split, _out: &mut Collector) -> Result<()> {
        Ok(())
    }

    /// Maps a record.
    fn map(&mut self, record: &Record<'_>, out: &mut Collector) -> Result<()>;

    /// Maps all records of a chunk and says how many there were. A function that needs no records
    /// may look at the chunk's bytes instead.
    fn map_chunk(&mut self, chunk: &Chunk<'_>, out: &mut Collector) -> Result<u64> {
        chunk.each(|record| self.map(&record, out).map_err(|error| at_record(error, chunk, record.offset)))
    }

    /// Whether what it complains of is always the record at hand.
    fn complains_at_once(&self) -> bool {
        true
    }

    /// Ends the task: what is still to be emitted.
    fn finish(&mut self, _out: &mut Collector) -> Result<()> {
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
fn at_record(error: Error, chunk: &Chunk<'_>, offset: u64) -> Error {
    if error.kind() == crate::error::Kind::Permanent && error.report().record.is_none() {
        return error.at(chunk.url, offset).showing(chunk.text_at(offset));
    }
    error
}

/// The functions of a job, checked: each can be made any number of times.
#[derive(Clone, Debug)]
pub struct Functions {
    /// The map function.
    pub map: MapFunction,
    /// The combine function.
    pub combine: Option<ReduceFunction>,
    /// The reduce function; none for a map-only job.
    pub reduce: Option<ReduceFunction>,
}

impl Functions {
    /// The functions of a manifest.
    ///
    /// # Errors
    ///
    /// A usage error that names the field, for names and arguments that there aren't, and for
    /// combine functions that can't be applied any number of times.
    pub fn new(spec: &MapReduceJobSpec) -> Result<Self> {
        let identity = Function::builtin("identity");
        let at = |path: &'static str| move |error: Error| error.context_usage(path);
        let map = MapFunction::new(spec.map.function.as_ref().unwrap_or(&identity))
            .map_err(at("spec.map.function"))?;
        let reduce = match &spec.reduce {
            Some(reduce) if !spec.is_map_only() => {
                let function = reduce.function.as_ref().unwrap_or(&identity);
                Some(ReduceFunction::new(function, Role::Reduce).map_err(at("spec.reduce.function"))?)
            }
            _ => None,
        };
        let combine = match &spec.combine {
            Some(combine) => {
                let function = ReduceFunction::new(&combine.function, Role::Combine)
                    .map_err(at("spec.combine.function"))?;
                function.check_combiner(reduce.as_ref()).map_err(at("spec.combine.function"))?;
                Some(function)
            }
            None => None,
        };
        if combine.is_some() && reduce.is_none() {
            return Err(Error::usage("spec.combine: combine goes with a reduce function"));
        }
        Ok(Self { map, combine, reduce })
    }
}
