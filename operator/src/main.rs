//! The operator's binary.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use mapreduce_operator::args::Args;
use mapreduce_operator::runtime::{self, Ended};

/// The exit code of a replica that has lost its lease: it is started again, and stands by.
const LEASE_LOST: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    // Before anything that may open a connection: with none installed the first one would panic.
    let installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let ended = match installed {
        Ok(()) => runtime::run(args).await,
        Err(_) => Err(anyhow::anyhow!("another TLS provider is installed already")),
    };
    match ended {
        Ok(Ended::Told) => ExitCode::SUCCESS,
        Ok(Ended::LeaseLost) => ExitCode::from(LEASE_LOST),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
