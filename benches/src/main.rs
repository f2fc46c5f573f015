//! `bench-data`: the data of the benchmarks, and whether a program's result on it is right.
//!
//! ```text
//!  bench-data generate DIR        text/ text64/ small/ records/ sums/ weblog/ and expected.json
//!  bench-data check WORK DIR FILE…       the digest of the files beside that of expected.json
//! ```
//!
//! The same scale gives the same bytes on every machine. What the right results are is known while the data is
//! written, without running anything over it: see [`data`].
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod data;
mod digest;
mod random;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Writes the benchmarks' data and checks results on it")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes the data and the digests of the right results
    Generate {
        /// The folder
        dir: PathBuf,
        /// Part of the full size, which is about 3.3 GiB
        #[arg(long, default_value_t = 1.0, value_parser = scale)]
        scale: f64,
    },
    /// Says whether a result is right
    Check {
        /// What was done: wordcount, wordcount64, small, sort, sum, log or grep
        work: String,
        /// The folder with the data
        dir: PathBuf,
        /// How often the data was in the input: so many times as often, or as much, is in the result
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        times: u64,
        /// The files of the result, in order
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.001..=64.0).contains(&scale) => Ok(scale),
        _ => Err("a number from 0.001 to 64".to_owned()),
    }
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Generate { dir, scale } => data::generate(&dir, scale),
        Command::Check { work, dir, times, files } => digest::check(&work, &dir, times, &files),
    }
}
