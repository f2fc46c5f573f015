//! From URLs to records.
//!
//! ```text
//!  urls ──list──> objects ──plan──> splits ──source──> bytes ──codec──> content ──records──> chunks
//! ```
//!
//! A *chunk* is a few hundred KiB of content that begins and ends at a record's edge: functions
//! get chunks, so that the work per record is no more than the function's own.

pub mod codec;
mod csv;
mod fixed;
pub mod frames;
mod large;
pub mod lines;
pub mod list;
mod parquet;
pub mod reader;
mod rows;
pub mod source;
mod whole;
