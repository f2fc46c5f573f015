//! Writes the CRD to stdout: `cargo run -p mapreduce-api --features crd --bin crdgen > crds/generated/mapreducejobs.yaml`.

fn main() -> Result<(), serde_yaml::Error> {
    print!("{}", serde_yaml::to_string(&mapreduce_api::v1alpha1::crd())?);
    Ok(())
}
