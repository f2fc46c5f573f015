//! `mapreduce buckets`: the buckets that somebody may see, numbered.

use mapreduce_api::v1alpha1::S3Storage;
use mapreduce_worker::error::Error;
use mapreduce_worker::storage::{runtime, s3_buckets};

use crate::args::{BucketsArgs, Service};

/// Prints the buckets in the service's order, or that there are none.
pub(crate) fn buckets(args: BucketsArgs) -> Result<(), Error> {
    let runtime = runtime()?;
    let (found, none) = match args.service {
        Service::S3 => {
            let storage = S3Storage { endpoint: args.endpoint, region: args.region, secret_ref: None };
            (s3_buckets(storage, args.profile.as_deref(), runtime.handle())?, "You don't have any S3 bucket.")
        }
    };
    if found.is_empty() {
        println!("{none}");
    }
    for (i, name) in found.iter().enumerate() {
        println!("{}. {name}", i + 1);
    }
    Ok(())
}
