//! `mapreduce`: runs, plans and validates MapReduceJob manifests.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod allocator;
mod args;
mod buckets;
mod failure;
mod load;
mod plan;
mod progress;
mod report;
mod run;
mod signals;
mod size;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, CliCommand};

fn main() -> ExitCode {
    show_warnings();
    match Args::try_parse() {
        Ok(args) => dispatch(args),
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            if wrong { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

fn dispatch(args: Args) -> ExitCode {
    // A second provider in the process would make every TLS connection panic.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("mapreduce: another TLS provider is installed already");
        return ExitCode::FAILURE;
    }
    match args.command {
        CliCommand::Run(args) => run::run(&args),
        CliCommand::Plan(args) => failure::exit(args.json, plan::plan(&args)),
        CliCommand::Buckets(args) => failure::exit(false, buckets::buckets(args)),
        CliCommand::Validate(args) => failure::exit(args.json, plan::validate(&args)),
    }
}

/// What the engine warns of goes to standard error, a line each.
fn show_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .init();
}
