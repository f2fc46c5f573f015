//! A manifest checked as the API server would: the CRD's types and limits, then its CEL rules.
//!
//! ```text
//!  text ── Manifest::parse ──> unknown fields, wrong types: one error, with its line
//!    └──── as JSON, nulls dropped, defaults filled in ──> limits of the schema ──> CEL rules
//! ```
//!
//! Rules run only on what is within the schema's limits, as on the API server: a rule may count
//! on the types and lengths that the schema promises.

mod schema;

use std::fmt;
use std::sync::LazyLock;

use kube_cel::{CompiledSchema, Validator, apply_defaults, compile_schema};
use serde_json::{Map, Value};

use crate::CRD_YAML;
use crate::manifest::{Manifest, document};
use crate::v1alpha1::{COMBINE_RULE_MESSAGE, MapReduceJobSpec, Phases, check_combine};

/// One thing that is wrong with a manifest, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field, as `spec.input.urls[0]`; empty when the message names the place itself.
    pub path: String,
    /// What is wrong with it and, where that isn't plain, the remedy.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Violation {}

/// The CRD's schema, read once. A CRD that can't be read is an error of each validation.
struct Crd {
    schema: Value,
    rules: CompiledSchema,
}

static CRD: LazyLock<Result<Crd, String>> = LazyLock::new(|| {
    let mut crd: Value = serde_yaml::from_str(CRD_YAML).map_err(|e| format!("the CRD can't be read: {e}"))?;
    let schema = crd
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema")
        .map(Value::take)
        .ok_or("the CRD has no schema")?;
    let rules = compile_schema(&schema);
    match rules.compilation_errors().first() {
        Some(error) => Err(format!("the CRD has a rule that can't be used: {error}")),
        None => Ok(Crd { schema, rules }),
    }
});

/// Reads and checks a manifest that is to become a new resource.
pub fn validate(text: &str) -> Result<Manifest, Vec<Violation>> {
    check(text, None)
}

/// Reads and checks a manifest that is to replace another: fields that can't be changed are
/// compared too.
pub fn validate_update(old: &str, new: &str) -> Result<Manifest, Vec<Violation>> {
    let old = object(old).map_err(|violation| vec![violation])?;
    check(new, Some(&old))
}

fn check(text: &str, old: Option<&Value>) -> Result<Manifest, Vec<Violation>> {
    let fail = |message: String| vec![Violation { path: String::new(), message }];
    let manifest = Manifest::parse(text).map_err(|e| fail(e.to_string()))?;
    let crd = CRD.as_ref().map_err(|e| fail(e.clone()))?;
    let object = apply_defaults(&crd.schema, &object(text).map_err(|violation| vec![violation])?);

    let mut violations = Vec::new();
    if object.pointer("/metadata/name").is_none() {
        violations.push(Violation { path: "metadata.name".into(), message: "required".into() });
    }
    schema::check(&crd.schema, &object, &mut String::new(), &mut violations);
    if !violations.is_empty() {
        return Err(violations);
    }
    if let Err(errors) = Validator::new().validate_compiled(&crd.rules, &object, old) {
        violations.extend(errors.into_iter().map(|e| Violation { path: e.field_path, message: e.message }));
    }
    // What the operator checks, in the words that fit the pair.
    violations.retain(|violation| violation.message != COMBINE_RULE_MESSAGE);
    violations.extend(wrong_combines(&manifest.spec));
    if violations.is_empty() {
        return Ok(manifest);
    }
    violations.sort_by(|a, b| a.path.cmp(&b.path));
    Err(violations)
}

/// Combine functions that would change the result of the reduce function after them.
fn wrong_combines(spec: &MapReduceJobSpec) -> Vec<Violation> {
    let of_step = |step| {
        let Phases { combine, reduce, .. } = spec.phases(step);
        let reduce = reduce.and_then(|reduce| reduce.function.as_ref())?;
        let message = check_combine(&combine?.function, Some(reduce)).err()?;
        Some(Violation { path: format!("{}.combine.function", Phases::path(spec, step)), message })
    };
    (0..spec.step_count()).filter_map(of_step).collect()
}

/// The object that the API server would see.
fn object(text: &str) -> Result<Value, Violation> {
    let wrong = |message: String| Violation { path: String::new(), message };
    let text = document(text).map_err(|e| wrong(e.to_string()))?;
    let mut object: Value = serde_yaml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    drop_nulls(&mut object);
    // The server makes a name from `generateName` before it validates, with five characters more.
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let generated = metadata.get("generateName").and_then(Value::as_str).map(|p| format!("{p}00000"));
        if let (false, Some(name)) = (has_name(metadata), generated) {
            metadata.insert("name".into(), Value::String(name));
        }
    }
    Ok(object)
}

fn has_name(metadata: &Map<String, Value>) -> bool {
    metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

/// Takes `field: null` for a field that isn't there, which is what it means in every field of ours.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
