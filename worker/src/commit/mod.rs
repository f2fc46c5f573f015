//! The commit log: whatever a job decides once is one conditional create.
//!
//! ```text
//!  <work>/plan.json              the plan; its tasks are in a payload under the planner's own name
//!  <work>/commit/map-00017       a task's record, and its shuffle data where that is small
//!  <work>/index                  where each partition is
//!  <work>/finish/00000           who publishes: see `task::finish`
//!  <output>/_mapreduce-lock      whose result may appear at the output prefix ([`lock`])
//!  <output>/_mapreduce-<run>/owner   who is at work there ([`sign`])
//! ```
//!
//! Nobody believes a store's answer to that: see [`create_once`](crate::storage::once::create_once).

pub mod lock;
pub mod owner;
pub mod record;
pub mod sign;

#[cfg(test)]
mod tests;
