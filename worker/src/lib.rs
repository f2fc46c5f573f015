//! The MapReduce engine: splits, map, shuffle, reduce, commit. See each module for its picture.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests are run on this machine"))]

pub mod commit;
pub mod error;
pub mod function;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod input;
pub mod job;
pub mod machine;
pub mod memory;
pub mod output;
pub mod plan;
#[cfg(feature = "pod")]
pub mod pod_main;
pub mod record;
pub mod scratch;
pub mod shuffle;
pub mod step;
pub mod storage;
pub mod task;
