//! The controller of `MapReduceJob` resources.
//!
//! ```text
//!  watch MapReduceJob, Job ──> reconcile ─┬─ dereference  read the job, its child Job, its pods' last words
//!                                         ├─ validate     pod templates parsed, once
//!                                         ├─ decide       pure: what is the one next write?
//!                                         └─ apply        make that write, and begin again until there is none
//! ```
//!
//! A pass makes its writes one at a time and decides anew after each, so a crash between any two of
//! them is nothing special: the next pass begins where this one ended. A phase is recorded before its
//! Job is made; a recorded phase without its Job makes it (again), which is harmless, for names are
//! fixed and workers skip what is committed; a job that has ended makes nothing any more.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
#![forbid(unsafe_code)]

pub mod admin;
pub mod api_client;
pub mod args;
pub mod backoff;
pub mod child_objects;
pub mod context;
pub mod creations;
pub mod event_publisher;
pub mod job;
pub mod kube_ext;
pub mod leader;
pub mod metrics;
pub mod orphans;
pub mod queue;
pub mod request_count;
pub mod runtime;
pub mod stranded;
pub mod telemetry;
pub mod text;
pub mod time;
pub mod watchdog;
