//! `mapreduce-worker`: one pod's task. Started by the operator; see `job::pod` for what it does.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::process::ExitCode;

use clap::Parser as _;
use mapreduce_worker::pod_main::Args;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Args::parse().run()
}
