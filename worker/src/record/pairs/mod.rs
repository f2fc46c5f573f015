//! What a step has written and the next one reads.
//!
//! ```text
//!  step `count`                                            step `sort`
//!  reduce-00000 ─┐                                      ┌─> map-00000
//!  reduce-00001 ─┼─ steps/count/pairs/00001-<attempt> ──┼─> map-00001
//!  reduce-00002 ─┘    one object per partition          └─> map-00002
//!
//!  object = block*              pairs in the order they were emitted, see `shuffle::block`
//!  commit record: name, bytes, pairs, and the offsets of blocks: there an object can be cut
//! ```
//!
//! Keys and values pass as the bytes that they are. The next step's plan is made from the commit records
//! alone, without a listing and without a look into the objects. A map-only step writes an object per map
//! task. `mapreduce run` without `shuffle.url` keeps the same blocks in memory and scratch files.

mod local;
mod place;
mod reader;
mod writer;

use serde::{Deserialize, Serialize};

pub use self::local::LocalPairs;
pub use self::place::PairsPlace;
pub use self::reader::PairsReader;
pub use self::writer::PairsWriter;

/// An object of pairs: what a task's commit record says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairsObject {
    /// The name below the job's work folder.
    pub name: String,
    /// The bytes.
    pub bytes: u64,
    /// The pairs.
    pub records: u64,
    /// Where blocks of it begin: all of a small object's, some of a large one's.
    pub cuts: Vec<u64>,
}

#[cfg(test)]
mod tests;
