//! Sizes and numbers that no machine has, and splits of a byte.

use serde_json::{Value, json};

use super::{Place, code, stderr, stdout};

/// The fields below the spec that take a size or a number, with their schemas. What Kubernetes' own types have is
/// theirs to say.
fn numbers(schema: &Value, path: &[&str], found: &mut Vec<(Vec<String>, Value)>) {
    if schema["x-kubernetes-int-or-string"] == true || schema["type"] == "integer" {
        found.push((path.iter().map(ToString::to_string).collect(), schema.clone()));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        numbers(inner, &[path, &[name]].concat(), found);
    }
}

/// The spec's fields with this one in them.
fn fields(path: &[String], value: &Value) -> Value {
    let nested = path.iter().rev().fold(value.clone(), |inner, name| json!({name: inner}));
    let mut input = nested;
    if path[0] == "input" {
        input["input"]["urls"] = json!(["file:in/"]);
        // Options go with the type of their name.
        if let [_, format, options, _] = path
            && format == "format"
        {
            let kind = options[..1].to_uppercase() + &options[1..];
            input["input"]["format"]["type"] = json!(kind);
        }
    }
    input
}

#[test]
fn a_size_or_number_that_can_not_be_is_a_usage_error_that_names_its_field() {
    let crd: Value = serde_yaml::from_str(mapreduce_api::CRD_YAML).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    numbers(schema, &[], &mut found);
    let sizes = found.iter().filter(|(_, schema)| schema["x-kubernetes-int-or-string"] == true).count();
    assert!(sizes >= 7 && found.len() >= 18, "the fields are not found any more: {found:?}");
    for (path, schema) in found {
        let is_size = schema["x-kubernetes-int-or-string"] == true;
        let values = if is_size {
            vec![json!("16Ei"), json!("15Ei"), json!("1e30"), json!("-1"), json!(u64::MAX), json!(-1)]
        } else {
            vec![json!(u64::MAX), json!(i64::MAX), json!(i64::MIN), json!(1e300)]
        };
        let place = Place::new();
        for value in values {
            place.manifest(&fields(&path, &value));
            let output = place.run(&["run", "job.yaml"]);
            let said = format!("{}: {value}: {}", path.join("."), stderr(&output));
            assert_eq!(code(&output), 2, "{said}");
            assert!(stderr(&output).contains(path.last().unwrap().as_str()), "{said}");
            assert!(!said.contains("panicked"), "{said}");
        }
        assert_eq!(place.names("."), ["in", "job.yaml"]);
    }
}

#[test]
fn more_memory_than_any_machine_has_is_as_much_as_there_is() {
    let place = Place::new();
    let output = place.run(&["run", "job.yaml", "--memory", "15Ei"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000"]);
    assert_eq!(code(&place.run(&["run", "job.yaml", "--memory", "16Ei"])), 2);
}

#[test]
fn splits_of_a_byte_are_as_many_as_a_job_can_have_and_no_more() {
    let place = Place::new();
    let lines: Vec<String> = (0..30_000).map(|i| format!("w{}\n", i % 100)).collect();
    place.write("in/a.txt", &lines.concat());
    place.manifest(&json!({"input": {"urls": ["file:in/"], "splitSize": "1"}}));
    let plan: Value = serde_json::from_slice(&place.run(&["plan", "job.yaml", "--json"]).stdout).unwrap();
    assert!(plan["splits"].as_u64().unwrap() > 1000, "they are small: {plan}");
    let output = place.run(&["run", "job.yaml", "--quiet", "--memory", "64Mi"]);
    assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
    let result = std::fs::read_to_string(place.path().join("out/part-00000")).unwrap();
    assert_eq!(result.lines().count(), 100);
    assert!(result.lines().all(|line| line.ends_with("\t300")), "{result}");
}
