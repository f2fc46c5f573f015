//! The limits of an OpenAPI v3 schema, as far as the CRD uses them: a test holds the two together.

use std::sync::{LazyLock, Mutex};

use regex::Regex;
use serde_json::{Map, Value};

use super::Violation;

/// The keywords that [`check`] obeys.
#[cfg(test)]
const CHECKED: [&str; 16] = [
    "additionalProperties",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
];

/// The keywords that set no limit, or whose limit is checked elsewhere: nulls are dropped before,
/// formats are those of the Rust types, rules are CEL's.
#[cfg(test)]
const NO_LIMIT: [&str; 7] = [
    "default",
    "description",
    "format",
    "nullable",
    "title",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

/// Adds what is wrong with `value`, which is at `path`. A value of the wrong type is not looked into.
pub(super) fn check(schema: &Value, value: &Value, path: &mut String, out: &mut Vec<Violation>) {
    let before = out.len();
    let mut wrong = |message: String| out.push(Violation { path: path.clone(), message });

    if let Some(kind) = schema["type"].as_str()
        && !is_of_type(kind, value)
    {
        return wrong(format!("must be of type {kind}"));
    }
    if schema["x-kubernetes-int-or-string"] == true
        && !value.is_i64()
        && !value.is_u64()
        && !value.is_string()
    {
        return wrong("must be a whole number or a string".into());
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        let allowed: Vec<_> = allowed.iter().map(plain).collect();
        return wrong(format!("`{}` is none of {}", plain(value), allowed.join(", ")));
    }
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            between(schema, ["minimum", "maximum"], number, "", &mut wrong);
        }
        Value::String(text) => {
            let length = text.chars().count() as f64;
            between(schema, ["minLength", "maxLength"], length, "characters", &mut wrong);
            if let Some(pattern) = schema["pattern"].as_str()
                && !matches(pattern, text)
            {
                wrong(format!("`{text}` doesn't match {pattern}"));
            }
        }
        Value::Array(items) => {
            between(schema, ["minItems", "maxItems"], items.len() as f64, "items", &mut wrong);
        }
        Value::Object(fields) => {
            let count = fields.len() as f64;
            between(schema, ["minProperties", "maxProperties"], count, "entries", &mut wrong);
        }
        Value::Null | Value::Bool(_) => {}
    }
    if out.len() > before {
        return;
    }
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                below(path, &format!("[{i}]"), |path| check(&schema["items"], item, path, out));
            }
        }
        Value::Object(fields) => check_fields(schema, fields, path, out),
        _ => {}
    }
}

fn check_fields(schema: &Value, fields: &Map<String, Value>, path: &mut String, out: &mut Vec<Violation>) {
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            below(path, name, |path| out.push(Violation { path: path.clone(), message: "required".into() }));
        }
    }
    for (name, field) in fields {
        let known = &schema["properties"][name.as_str()];
        let known = if known.is_object() { known } else { &schema["additionalProperties"] };
        // Where there is no schema, the field is the API server's own or kept as it is.
        if known.is_object() {
            below(path, name, |path| check(known, field, path, out));
        }
    }
}

/// Calls `f` with `path` extended by a field's name or an item's `[0]`.
fn below(path: &mut String, name: &str, f: impl FnOnce(&mut String)) {
    let length = path.len();
    if !path.is_empty() && !name.starts_with('[') {
        path.push('.');
    }
    path.push_str(name);
    f(path);
    path.truncate(length);
}

fn between(schema: &Value, [min, max]: [&str; 2], actual: f64, unit: &str, wrong: &mut impl FnMut(String)) {
    let say = |bound: f64, side: &str| {
        if unit.is_empty() {
            format!("{actual} is {} {bound}", if side == "least" { "less than" } else { "more than" })
        } else {
            format!("has {actual} {unit}, must have at {side} {bound}")
        }
    };
    if let Some(min) = schema[min].as_f64().filter(|min| actual < *min) {
        wrong(say(min, "least"));
    }
    if let Some(max) = schema[max].as_f64().filter(|max| actual > *max) {
        wrong(say(max, "most"));
    }
}

fn is_of_type(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => false,
    }
}

/// A value as it stands in a manifest.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether the text matches. The schema has a handful of patterns, each in many places.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<Vec<Regex>>> = LazyLock::new(Mutex::default);
    let Ok(mut compiled) = COMPILED.lock() else { return false };
    if let Some(regex) = compiled.iter().find(|regex| regex.as_str() == pattern) {
        return regex.is_match(text);
    }
    Regex::new(pattern).is_ok_and(|regex| {
        let is_match = regex.is_match(text);
        compiled.push(regex);
        is_match
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{CHECKED, NO_LIMIT, check};
    use crate::CRD_YAML;

    fn wrong(schema: &Value, value: &Value) -> Vec<String> {
        let mut out = Vec::new();
        check(schema, value, &mut "x".to_owned(), &mut out);
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_limit_is_checked_and_says_what_is_allowed() {
        for (schema, good, bad, message) in [
            (json!({"type": "integer"}), json!(1), json!("1"), "x: must be of type integer"),
            (json!({"type": "object"}), json!({"a": 1}), json!([]), "x: must be of type object"),
            (json!({"enum": ["A", "B"]}), json!("B"), json!("C"), "x: `C` is none of A, B"),
            (json!({"minimum": 1.0}), json!(1), json!(0), "x: 0 is less than 1"),
            (json!({"maximum": 9.0}), json!(9), json!(10), "x: 10 is more than 9"),
            (json!({"minLength": 1}), json!("é"), json!(""), "x: has 0 characters, must have at least 1"),
            (json!({"maxLength": 1}), json!("é"), json!("éé"), "x: has 2 characters, must have at most 1"),
            (json!({"minItems": 1}), json!([0]), json!([]), "x: has 0 items, must have at least 1"),
            (
                json!({"maxProperties": 1}),
                json!({"a": 1}),
                json!({"a": 1, "b": 2}),
                "x: has 2 entries, must have at most 1",
            ),
            (json!({"pattern": "^a+$"}), json!("aa"), json!("b"), "x: `b` doesn't match ^a+$"),
            (
                json!({"x-kubernetes-int-or-string": true, "pattern": "^1Mi$"}),
                json!(7),
                json!(true),
                "x: must be a whole number or a string",
            ),
            (json!({"required": ["a"]}), json!({"a": 1}), json!({}), "x.a: required"),
            (json!({"items": {"minimum": 1}}), json!([1]), json!([1, 0]), "x[1]: 0 is less than 1"),
            (
                json!({"additionalProperties": {"type": "string"}}),
                json!({"k": "v"}),
                json!({"k": 1}),
                "x.k: must be of type string",
            ),
        ] {
            assert_eq!(wrong(&schema, &good), Vec::<String>::new(), "{schema}");
            assert_eq!(wrong(&schema, &bad), [message], "{schema}");
        }
    }

    /// What is written on a number without limits is limited by chance alone.
    #[test]
    fn every_number_of_the_spec_has_a_least_and_a_greatest_value() {
        fn walk(schema: &Value, path: &str, numbers: &mut usize) {
            let is_number = matches!(schema["type"].as_str(), Some("integer" | "number"));
            let is_quantity = schema["x-kubernetes-int-or-string"] == true;
            if is_number || is_quantity && schema["maximum"].is_number() {
                *numbers += 1;
                let limits = ["minimum", "maximum"].map(|limit| schema[limit].as_f64());
                assert!(matches!(limits, [Some(least), Some(most)] if least < most), "{path}: {limits:?}");
            } else if is_quantity {
                assert!(schema["pattern"].is_string(), "{path} takes any text");
            }
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                walk(field, &format!("{path}.{name}"), numbers);
            }
            for items in ["items", "additionalProperties"].map(|items| &schema[items]) {
                if items.is_object() {
                    walk(items, &format!("{path}[]"), numbers);
                }
            }
        }
        let crd: Value = serde_yaml::from_str(CRD_YAML).unwrap();
        let mut numbers = 0;
        walk(
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
            "spec",
            &mut numbers,
        );
        assert!(numbers > 10, "{numbers}");
    }

    /// A keyword that the CRD gains must not be passed over here while the API server obeys it.
    #[test]
    fn the_crd_uses_no_keyword_that_is_not_checked() {
        fn walk(schema: &Value, path: &str) {
            for (keyword, value) in schema.as_object().unwrap() {
                assert!(
                    CHECKED.contains(&keyword.as_str()) || NO_LIMIT.contains(&keyword.as_str()),
                    "{path} has `{keyword}`, which crds/src/validate/schema.rs doesn't check"
                );
                match keyword.as_str() {
                    "properties" => {
                        value.as_object().unwrap().iter().for_each(|(k, v)| walk(v, &format!("{path}.{k}")));
                    }
                    "items" | "additionalProperties" => walk(value, &format!("{path}[]")),
                    _ => {}
                }
            }
        }
        let crd: Value = serde_yaml::from_str(CRD_YAML).unwrap();
        walk(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "");
    }
}
