//! From the pairs that map functions emit to the sorted groups that reduce functions get.
//!
//! ```text
//!  emit ──> Collector ─┬─ SumTable    equal keys are added up as they come, while that pays (CombineStats)
//!                      └─ SortBuffer  pairs are kept, sorted when memory is full
//!                             │ flush: per partition, one sorted run
//!                             v
//!                  runs in memory or in a scratch file (Space decides)
//!                             │ merge (loser tree), combine
//!                             v
//!         in a pod: one shuffle object per map task, its index in the commit record (write)
//!         locally:  the runs themselves
//!                             │ merge of one partition of every map task, of which more is fetched meanwhile
//!                             v
//!                       groups ──> reduce function ──> part
//! ```
//!
//! Memory is bounded by the budget, not by the data: what does not fit goes to scratch files in
//! the same block format that shuffle objects have ([`block`](crate::record::block)).

pub mod collector;
pub mod combine;
pub mod combine_stats;
pub mod fetch;
pub mod index;
pub mod merge;
pub mod object;
pub mod order;
mod pages;
pub mod partition;
mod radix;
pub mod read;
pub mod run;
pub mod sample;
pub mod sort;
pub mod spec;
pub mod stream;
pub mod table;
pub mod write;
