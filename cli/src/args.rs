//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use mapreduce_api::quantity::Bytes;

/// Runs MapReduceJob manifests on this machine, over local files and object stores.
#[derive(Debug, Parser)]
#[command(name = "mapreduce", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Runs the job in this process.
    Run(RunArgs),
    /// Shows splits, tasks and the cost of requests, without running the job or its functions.
    Plan(PlanArgs),
    /// Checks the manifest as the API server would, and its functions.
    Validate(FileArgs),
    /// Lists the buckets that the credentials of the environment, or of a profile, may see.
    Buckets(BucketsArgs),
}

/// Who keeps objects.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Service {
    /// S3, and what speaks like it.
    S3,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BucketsArgs {
    /// Who keeps them.
    #[arg(value_name = "SERVICE", value_enum)]
    pub service: Service,
    /// The server's address where it isn't the service's own, as http://minio:9000.
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The region that is asked.
    #[arg(long)]
    pub region: Option<String>,
    /// The profile of ~/.aws/credentials.
    #[arg(long, env = "AWS_PROFILE")]
    pub profile: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct FileArgs {
    /// The manifest; - for standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

// A job: its manifest, and what it reads and writes where that is not the manifest's own. As documentation this
// would be the help of each command that takes it.
#[derive(Debug, ClapArgs)]
pub(crate) struct JobArgs {
    /// The manifest; - for standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Reads this instead of spec.input.urls; may be given several times. `file:` is relative to
    /// the current folder.
    #[arg(long, value_name = "URL")]
    pub input: Vec<String>,
    /// Writes here instead of spec.output.url.
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Runs the map function over a sample of the input, where keys are partitioned by ranges.
    #[arg(long)]
    pub sample: bool,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Tasks at once; as many as there are processors when absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// The most memory that the run may take, as 512Mi, from 64Mi on; what does not fit goes to temporary
    /// files. Half of what is free when absent.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Bytes>,
    /// Suppresses the progress display.
    #[arg(long)]
    pub quiet: bool,
    /// Prints the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}
