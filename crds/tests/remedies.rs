//! What an error message tells people to set has to be there: every setting that is named in a text of the sources is
//! looked up in the schema.

use std::path::Path;

use serde_json::Value;

/// The texts of a source, each with its line; a text over several lines is one.
fn texts(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let chars: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        match chars[at] {
            '/' if next == Some('/') => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
                continue;
            }
            // A character, and not a lifetime.
            '\'' if next == Some('\\') => at += 3,
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 2,
            '"' => {
                let (start, mut text) = (line, String::new());
                at += 1;
                while at < chars.len() && chars[at] != '"' {
                    if chars[at] == '\\' {
                        at += 1;
                    }
                    line += usize::from(chars[at] == '\n');
                    text.push(chars[at]);
                    at += 1;
                }
                found.push((start, text.split_whitespace().collect::<Vec<_>>().join(" ")));
            }
            '\n' => line += 1,
            _ => {}
        }
        at += 1;
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The field that a path leads to, if it is in the schema.
fn field<'s>(spec: &'s Value, path: &str) -> Option<&'s Value> {
    path.split('.').try_fold(spec, |schema, name| {
        let name = name.split('[').next().unwrap_or_default();
        // What Kubernetes' own types have is theirs to say.
        if schema["properties"].is_null() && schema["type"] == "object" {
            return Some(schema);
        }
        let inner = schema["properties"].get(name)?;
        Some(if inner["type"] == "array" { &inner["items"] } else { inner })
    })
}

/// What is wrong with the settings that a text names.
fn faults(spec: &Value, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let words: Vec<&str> =
        text.split([' ', ',', '(', ')', '`', ';']).filter(|word| !word.is_empty()).collect();
    for (i, word) in words.iter().enumerate() {
        let bare = word.trim_end_matches([':', '.']);
        let path = bare.strip_prefix("spec.").unwrap_or(bare);
        let is_name = |name: &str| name.starts_with(|first: char| first.is_ascii_lowercase());
        let first = path.split(['.', '[']).next().unwrap_or_default();
        let is_path = path.contains('.')
            && path.split('.').all(is_name)
            && spec["properties"].get(first).is_some()
            && path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']'));
        // A name alone would leave open whose it is.
        let is_told = i > 0 && matches!(words[i - 1], "raise" | "set" | "lower");
        let is_camel = is_name(bare) && bare.chars().any(|c| c.is_ascii_uppercase());
        if !(is_path || bare.starts_with("spec.") || is_told && is_camel) || bare.contains('{') {
            continue;
        }
        let Some(known) = field(spec, path) else {
            faults.push(format!("there is no `{path}`"));
            continue;
        };
        let value =
            words.get(i + 1).filter(|_| word.ends_with(':')).map(|value| value.trim_end_matches([':', '.']));
        if let (Some(value), Some(values)) = (value, known["enum"].as_array())
            && !values.iter().any(|known| known == value)
        {
            faults.push(format!("`{path}` has no value `{value}`"));
        }
    }
    faults
}

fn spec() -> Value {
    let crd: Value = serde_yaml::from_str(mapreduce_api::CRD_YAML).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

#[test]
fn every_setting_that_a_message_names_is_in_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let spec = spec();
    let mut files = Vec::new();
    for folder in ["worker/src", "cli/src", "operator/src", "crds/src"] {
        sources(&root.join(folder), &mut files);
    }
    let (mut said, mut named) = (Vec::new(), 0);
    for file in files {
        let source = std::fs::read_to_string(&file).unwrap();
        // A file's own tests are its last part.
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for (line, text) in texts(source) {
            named += usize::from(text.contains("input.") || text.contains("spec."));
            let faults = faults(&spec, &text);
            said.extend(faults.iter().map(|fault| format!("{}:{line}: {fault}: {text}", file.display())));
        }
    }
    assert!(said.is_empty(), "{}", said.join("\n"));
    assert!(named > 20, "the texts are not found any more: {named}");
}

#[test]
fn a_setting_that_is_not_there_is_found_out() {
    let spec = spec();
    for (text, count) in [
        ("longer than 7 bytes: raise maxRecordBytes, or check the delimiter", 1),
        ("raise input.format.jsonLines.maxRecordBytes", 0),
        ("raise input.format.fixedLength.maxRecordBytes", 1),
        ("spec.nothing is too long", 1),
        ("set output.ifExists: Replace", 0),
        ("set output.ifExists: Overwrite", 1),
        ("it has a map.", 0),
        ("spec.steps[].map.template is not a valid PodTemplateSpec", 0),
    ] {
        assert_eq!(faults(&spec, text).len(), count, "{text}: {:?}", faults(&spec, text));
    }
    let source = "let a = 'x'; // \"no\"\nf(\"one \\\n   two\", '\"', b\"\\\"\");";
    assert_eq!(texts(source), [(2, "one two".to_owned()), (3, "\"".to_owned())]);
}
