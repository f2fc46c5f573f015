//! What is written is what is read: a spec with every field set, as YAML, as JSON and as a resource.

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

/// The fields of a step are those of a job, which [`FULL`] has.
const STEPS: &str = "
apiVersion: mapreduce.dev/v1alpha1
kind: MapReduceJob
metadata: {name: steps}
spec:
  input: {urls: ['s3://b/i/']}
  steps:
    - name: count
      map: {function: {builtin: {name: words}}, parallelism: 3}
      combine: {function: {builtin: {name: sum}}}
      reduce: {function: {builtin: {name: sum}}, tasks: 4}
    - name: copy
  output: {url: 's3://b/o/'}
";

#[test]
fn a_job_with_steps_is_the_same_in_every_form() {
    let manifest = mapreduce_api::validate::validate(STEPS).unwrap();
    let written = serde_yaml::to_string(&manifest).unwrap();
    assert_eq!(mapreduce_api::validate::validate(&written).unwrap(), manifest);
    let resource: MapReduceJob = serde_yaml::from_str(STEPS).unwrap();
    assert_eq!(resource.spec, manifest.spec);
    assert_eq!(manifest.spec.steps[0].reduce.as_ref().unwrap().tasks, Some(4));
}

#[test]
fn a_job_of_one_step_is_the_step_s() {
    let spec = mapreduce_api::validate::validate(STEPS).unwrap().spec;
    assert_eq!(spec.step_count(), 2);
    let (first, last) = (spec.of_step(0), spec.of_step(1));
    assert!(first.steps.is_empty() && first.map == spec.steps[0].map && first.output == spec.output);
    assert_eq!((first.is_map_only(), last.is_map_only(), spec.is_map_only()), (false, true, true));
    assert_eq!(full().spec.step_count(), 1);
    assert_eq!(full().spec.of_step(0), full().spec);
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
    for text in [shortest, FULL, STEPS] {
        let mut found = Vec::new();
        nulls(&serde_json::to_value(Manifest::parse(text).unwrap()).unwrap(), "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}

#[test]
fn every_field_is_set() {
    /// What [`FULL`] can't show at the same time as its alternative.
    const ALTERNATIVES: [&str; 11] = [
        // See `a_job_with_steps_is_the_same_in_every_form`.
        "spec.steps",
        ".format.keyValue",
        ".format.fixedLength",
        ".format.csv",
        ".format.jsonLines",
        ".format.parquet",
        ".format.wholeFile",
        ".function.builtin",
        ".function.command",
        ".function.script",
        ".function.wasm",
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
