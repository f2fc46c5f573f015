//! `docs/reference/mapreducejob.md` is what the CRD's schema says.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

#[test]
fn the_reference_is_the_schema() {
    let crd: Value = serde_yaml::from_str(mapreduce_api::CRD_YAML).unwrap();
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut page = fs::read_to_string("tests/reference.head.md").unwrap();
    for part in ["spec", "status"] {
        writeln!(page, "\n## {part}\n\n| field | type | meaning |\n|---|---|---|").unwrap();
        rows(&schema["properties"][part], part, &mut page);
    }

    let path = Path::new("../docs/reference/mapreducejob.md");
    if env::var_os("UPDATE").is_some() {
        fs::write(path, &page).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == page, "docs/reference/mapreducejob.md is stale; run:\n  .ci/generate");
}

/// A row per field, depth first, in the schema's order.
fn rows(schema: &Value, path: &str, page: &mut String) {
    let required: Vec<_> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let description =
            field["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
        let mut notes = Vec::new();
        if required.contains(&name.as_str()) {
            notes.push("required".to_owned());
        }
        if let Some(default) =
            field.get("default").filter(|d| !d.as_object().is_some_and(serde_json::Map::is_empty))
        {
            notes.push(format!("default `{}`", plain(default)));
        }
        for (keyword, word) in [("minimum", "at least"), ("maximum", "at most")] {
            if let Some(bound) = field[keyword].as_f64() {
                notes.push(format!("{word} {bound}"));
            }
        }
        if let Some(values) = field["enum"].as_array() {
            notes.push(format!(
                "one of {}",
                values.iter().map(|v| format!("`{}`", plain(v))).collect::<Vec<_>>().join(", ")
            ));
        }
        for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
            if let Some(message) = rule["message"].as_str() {
                notes.push(message.to_owned());
            }
        }
        let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        let indexed =
            if field["items"]["properties"].is_object() { format!("{path}[]") } else { path.clone() };
        // A step's phases are the job's: their fields are not told twice.
        let same = path.strip_prefix("spec.steps[].").filter(|name| *name != "name");
        if let Some(name) = same {
            writeln!(
                page,
                "| `{path}` | {} | {description} Its fields are those of `spec.{name}`. |",
                kind(field)
            )
            .unwrap();
            continue;
        }
        writeln!(page, "| `{path}` | {} | {description}{notes} |", kind(field)).unwrap();
        rows(field, &path, page);
        rows(&field["items"], &indexed, page);
    }
}

fn kind(field: &Value) -> String {
    if field["x-kubernetes-int-or-string"] == true {
        return "size".into();
    }
    match field["type"].as_str() {
        Some("array") => format!("list of {}", kind(&field["items"])),
        Some("object") if field["additionalProperties"].is_object() => {
            format!("map of {}", kind(&field["additionalProperties"]))
        }
        Some("string") if field["format"] == "date-time" => "time".into(),
        Some(kind) => kind.into(),
        None => "any".into(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
