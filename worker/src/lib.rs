//! The MapReduce engine: splits, map, shuffle, reduce, commit. See each module for its picture.

pub mod error;
pub mod function;
pub mod input;
pub mod output;
pub mod shuffle;
pub mod storage;
