//! `function`: what is done to a record or a group. Exactly one kind is set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::variable::{self, Variable, VariableValue};

/// What is done: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("[has(self.builtin), has(self.command), has(self.script), has(self.wasm)].filter(set, set).size() == 1",
                  "a function is exactly one of: builtin, command, script, wasm"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// A function that comes with the operator, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,

    /// A program that reads lines and writes lines, as with Hadoop Streaming.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,

    /// A function in JavaScript or Python, in the manifest or at a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,

    /// A WebAssembly component with the interface of `worker/wit`: no files, no network, limited memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasm: Option<SourceFrom>,
}

/// A function that comes with the operator.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Builtin {
    /// Its name, as `words`, `grep`, `sum` or `top`; `docs/functions.md` has all of them.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 64)))]
    pub name: String,

    /// Its arguments, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::any_object"))]
    pub args: BTreeMap<String, Value>,
}

/// A program of the image (of this machine in `mapreduce run`), as with Hadoop Streaming: each
/// record is a line on its standard input, each line of its standard output is `key TAB value`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("has(self.argv) != has(self.shell)", "a command is exactly one of: argv, shell"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments. A name without a slash is looked up among `files`, then in
    /// the PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 1024)))]
    pub argv: Option<Vec<String>>,

    /// A line for `/bin/sh -c`: pipes and variables work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 65_536)))]
    pub shell: Option<String>,

    /// Its environment beside PATH, HOME, LANG, LC_ALL, TMPDIR and TZ: a list of `{name, value}` or
    /// `{name, valueFrom}` as in a pod, or a map of names to values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::anything"))]
    pub env: Option<Value>,

    /// Files that are in its working directory, by name: texts that it may execute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// A script with the function `map` or `reduce`: in JavaScript `map(key, value, emit, counter)` and
/// `reduce(key, values, emit, counter)`, in Python `map(key, value)` and `reduce(key, values)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("has(self.source) != has(self.sourceFrom)", "a script has exactly one of: source, sourceFrom"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// The language it is written in.
    pub language: ScriptLanguage,

    /// The script itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 262_144)))]
    pub source: Option<String>,

    /// Where the script is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_from: Option<SourceFrom>,
}

/// The languages of scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ScriptLanguage {
    /// By an engine that is part of the worker: no files, no network, limited memory.
    Javascript,
    /// By `python3` of the image, or of the PATH in `mapreduce run`.
    Python,
}

/// Where code is: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("has(self.url) != has(self.configMapKeyRef)", "exactly one of: url, configMapKeyRef"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceFrom {
    /// An object, as those of the input. `file:` may be relative to the manifest in `mapreduce run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2048)))]
    pub url: Option<String>,

    /// A key of a ConfigMap in the job's namespace; on a cluster only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKeyRef {
    /// The ConfigMap's name.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))
    )]
    pub name: String,

    /// The key.
    #[cfg_attr(
        feature = "crd",
        schemars(length(min = 1, max = 253), regex(pattern = r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"))
    )]
    pub key: String,
}

impl Function {
    /// The built-in function with this name and no arguments.
    pub fn builtin(name: &str) -> Self {
        let builtin = Builtin { name: name.to_owned(), args: BTreeMap::new() };
        Self { builtin: Some(builtin), ..Self::default() }
    }
}

impl Command {
    /// The variables of `env`, in the order in which they were written.
    ///
    /// # Errors
    ///
    /// What is wrong with them, in one line.
    pub fn variables(&self) -> Result<Vec<Variable>, String> {
        variable::variables(self.env.as_ref())
    }
}

impl Function {
    /// The ConfigMap's key that it is read from.
    pub fn config_map_key(&self) -> Option<&ConfigMapKeyRef> {
        let from_script = self.script.as_ref().and_then(|script| script.source_from.as_ref());
        from_script.or(self.wasm.as_ref())?.config_map_key_ref.as_ref()
    }

    /// What it takes from the cluster and can't have elsewhere, as the field that says so.
    pub fn only_on_a_cluster(&self) -> Option<&'static str> {
        let variables = self.command.as_ref().and_then(|command| command.variables().ok());
        let from = |variable: &Variable| matches!(variable.value, VariableValue::From(_));
        match variables {
            Some(variables) if variables.iter().any(from) => Some("command.env: valueFrom"),
            _ if self.config_map_key().is_none() => None,
            _ if self.wasm.is_some() => Some("wasm.configMapKeyRef"),
            _ => Some("script.sourceFrom.configMapKeyRef"),
        }
    }
}
