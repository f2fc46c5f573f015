//! What is written is what is read: a spec with every field set, as YAML, as JSON and as a resource.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use mapreduce_api::manifest::Manifest;
use mapreduce_api::v1alpha1::{MapReduceJob, MapReduceJobSpec};
use mapreduce_api::wire::JobFile;
use serde_json::Value;

/// Every field of the schema; `every_field_is_set` says which one is missing.
const FULL: &str = include_str!("full.yaml");

fn full() -> Manifest {
    mapreduce_api::validate::validate(FULL).unwrap()
}

#[test]
fn a_full_manifest_is_the_same_after_yaml() {
    let written = serde_yaml::to_string(&full()).unwrap();
    assert_eq!(Manifest::parse(&written).unwrap(), full());
}

#[test]
fn a_full_spec_is_the_same_after_the_job_file() {
    let manifest = full();
    let file = JobFile {
        id: mapreduce_api::ids::JobId::new("0b0a"),
        name: manifest.metadata.name.clone(),
        spec: manifest.spec,
    };
    let written = serde_json::to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<JobFile>(&written).unwrap(), file);
}

#[test]
fn a_full_manifest_is_the_same_as_a_resource() {
    let resource: MapReduceJob = serde_yaml::from_str(FULL).unwrap();
    assert_eq!(resource.spec, full().spec);
    let written: Value = serde_json::to_value(&resource).unwrap();
    let spec: MapReduceJobSpec = serde_json::from_value(written["spec"].clone()).unwrap();
    assert_eq!(spec, resource.spec);
}

/// What `mapreduce submit` or the operator writes must not set fields the user left out to null:
/// a field that isn't nullable would be refused.
#[test]
fn no_null_is_written() {
    fn nulls(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Null => found.push(path.to_owned()),
            Value::Object(fields) => fields.iter().for_each(|(k, v)| nulls(v, &format!("{path}.{k}"), found)),
            Value::Array(items) => items.iter().for_each(|v| nulls(v, &format!("{path}[]"), found)),
            _ => {}
        }
    }
    let shortest = "
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {name: shortest}
spec:
  input: {urls: ['s3://b/i/']}
  output: {url: 's3://b/o/'}
";
    for text in [shortest, FULL] {
        let mut found = Vec::new();
        nulls(&serde_json::to_value(Manifest::parse(text).unwrap()).unwrap(), "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn every_field_is_set() {
    /// What [`FULL`] can't show at the same time as its alternative.
    const ALTERNATIVES: [&str; 8] = [
        ".format.keyValue",
        ".format.fixedLength",
        ".format.csv",
        ".format.jsonLines",
        ".format.parquet",
        ".function.builtin",
        ".function.command",
        ".function.script",
    ];
    fn walk(schema: &Value, value: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            match value.get(name) {
                Some(value) => walk(field, value, &path, missing),
                None if ALTERNATIVES.iter().any(|a| path.contains(a)) => {}
                None => missing.push(path),
            }
        }
    }
    let crd: Value = serde_yaml::from_str(mapreduce_api::CRD_YAML).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let full: Value = serde_yaml::from_str(FULL).unwrap();
    let mut missing = Vec::new();
    walk(schema, &full["spec"], "spec", &mut missing);
    assert_eq!(missing, Vec::<String>::new(), "add them to crds/tests/full.yaml");
}
