//! What the end-to-end tests are written with: a cluster, a bucket, a job, and waiting with an end.
//!
//! ```text
//!  Scenario ─┬─ Cluster   kubectl and helm; the chart is installed once for all tests
//!            ├─ Bucket    the S3 server, as this process reaches it
//!            ├─ Release   the chart once more, with other values
//!            ├─ MrJob     a manifest, built field by field
//!            └─ Watch     every Job and pod that was ever there
//! ```
//!
//! A test has a namespace and a prefix in the bucket to itself. When it fails, what the cluster
//! knows of its job is printed before both are removed.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

pub mod bucket;
pub mod chaos;
pub mod cluster;
pub mod command;
pub mod component;
pub mod manifest;
pub mod operator;
pub mod release;
pub mod scenario;
pub mod text;
pub mod wait;
pub mod watch;

/// Prints a line that is seen although the test succeeds: a figure.
pub fn tell(line: &str) {
    use std::io::Write as _;
    // The test harness captures what macros print, and nothing else.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
