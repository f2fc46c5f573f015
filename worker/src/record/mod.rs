//! Records and pairs, and the traits of what is done to them.
//!
//! ```text
//!  split ─> Chunk of Records ─> Mapper ─> pairs ─> MapOutput          Values of a key ─> Reducer ─> Emit
//!
//!  pairs one after the other = a block ([`block`]); blocks kept in memory and scratch files ([`spill_store`],
//!  [`segments`]); blocks that one step hands to the next ([`pairs`])
//! ```
//!
//! Input, output, shuffle and functions are side by side above this layer: none of them knows another, what they
//! say to each other is said here.

pub mod block;
pub mod chunk;
pub mod emit;
pub mod fetched;
pub mod format;
pub mod functions;
pub mod hashed;
pub mod json;
pub mod key;
pub mod lines;
pub mod number;
pub mod pairs;
pub(crate) mod row;
pub mod segment;
pub mod segments;
pub mod skipped;
pub mod spill_store;
pub mod split;
pub(crate) mod utf_16;

pub use self::emit::{Emit, Pair};
pub use self::functions::{MapOutput, Mapper, Reducer, Values};
