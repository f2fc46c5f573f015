//! The operator's binary.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser as _;
use mapreduce_operator::{args::Args, runtime, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    // Before anything that may open a connection: with none installed the first one would panic.
    let provider = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = Args::parse();
    let filter = match telemetry::init(&args.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    if provider.is_err() {
        tracing::warn!("Another TLS provider was installed before ours.");
    }
    match runtime::run(args, filter).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
