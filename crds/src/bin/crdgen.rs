//! Writes the CRD to stdout: `cargo run -p mapreduce-api --features crd --bin crdgen > crds/generated/mapreducejobs.yaml`.
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![warn(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

fn main() -> Result<(), serde_yaml::Error> {
    print!("{}", serde_yaml::to_string(&mapreduce_api::v1alpha1::crd())?);
    Ok(())
}
