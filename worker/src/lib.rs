//! The MapReduce engine: splits, map, shuffle, reduce, commit. See each module for its picture.

pub mod error;
pub mod function;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod input;
pub mod job;
pub mod output;
pub mod pairs;
pub mod plan;
#[cfg(feature = "pod")]
pub mod pod_main;
pub mod shuffle;
pub mod storage;
pub mod task;
