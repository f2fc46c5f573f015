//! `function`: what is done to a record or a group. Exactly one kind is set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is done: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("has(self.builtin)", "a function is exactly one of: builtin"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// A function that comes with the operator, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
}

/// A function that comes with the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {
    /// Its name. Maps: `identity`, `words`, `grep`, `fields`, `csv`, `json`, `extract`, `count`.
    /// Reduces: `identity`, `sum`, `count`, `min`, `max`, `mean`, `distinct`, `stats`, `histogram`, `first`,
    /// `last`, `top`, `collect`, `join`, `aggregate`; combines: those that can be applied any number of times.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 64)))]
    pub name: String,

    /// Its arguments, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::v1alpha1::resource::any_object"))]
    pub args: BTreeMap<String, Value>,
}

impl Function {
    /// The built-in function with this name and no arguments.
    pub fn builtin(name: &str) -> Self {
        Self { builtin: Some(Builtin { name: name.to_owned(), args: BTreeMap::new() }) }
    }
}
