//! `function`: what is done to a record or a group. Exactly one kind is set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is done: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("[has(self.builtin), has(self.command), has(self.script)].filter(set, set).size() == 1",
                  "a function is exactly one of: builtin, command, script"),
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

    /// Its environment beside PATH, HOME, LANG, LC_ALL, TMPDIR and TZ: a list of `{name, value}`
    /// as in a pod, or a map of names to values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::v1alpha1::resource::anything"))]
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

/// Where a script is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceFrom {
    /// An object, as those of the input. `file:` may be relative to the manifest in `mapreduce run`.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 2048)))]
    pub url: String,
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
    /// What is wrong with them, in one line: the schema takes both forms and so checks neither.
    pub fn variables(&self) -> Result<Vec<(String, String)>, String> {
        let variables = match &self.env {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Object(map)) => map
                .iter()
                .map(|(name, value)| Ok((name.clone(), text(name, value)?)))
                .collect::<Result<_, String>>()?,
            Some(Value::Array(list)) => list.iter().map(named).collect::<Result<_, String>>()?,
            Some(other) => return Err(format!("a list of {{name, value}} or a map, not {other}")),
        };
        match variables.iter().find(|(name, _)| name.is_empty() || name.contains(['=', '\0'])) {
            None => Ok(variables),
            Some((name, _)) => Err(format!("`{name}` is no variable's name")),
        }
    }
}

fn named(item: &Value) -> Result<(String, String), String> {
    let fields = item.as_object().ok_or_else(|| format!("an item is {{name, value}}, not {item}"))?;
    let name = fields.get("name").and_then(Value::as_str).ok_or_else(|| format!("{item} has no name"))?;
    if let Some(other) = fields.keys().find(|field| !["name", "value"].contains(&field.as_str())) {
        return Err(format!("unknown field `{other}` of `{name}`: there are name, value"));
    }
    let value = fields.get("value").map_or(Ok(String::new()), |value| text(name, value))?;
    Ok((name.to_owned(), value))
}

fn text(name: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("the value of `{name}` is a text, not {other}: put it in quotes")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Command;

    fn variables(env: Value) -> Result<Vec<(String, String)>, String> {
        Command { env: Some(env), ..Command::default() }.variables()
    }

    #[test]
    fn variables_are_a_list_as_in_a_pod_or_a_map() {
        let both = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())];
        assert_eq!(variables(json!([{"name": "A", "value": "1"}, {"name": "B"}])).unwrap(), both);
        assert_eq!(variables(json!({"A": "1", "B": ""})).unwrap(), both);
        assert_eq!(Command::default().variables().unwrap(), []);
    }

    #[test]
    fn what_is_no_variable_is_refused_by_name() {
        for (env, named) in [
            (json!("A=1"), "A=1"),
            (json!([{"value": "1"}]), "has no name"),
            (json!([{"name": "A", "valu": "1"}]), "`valu`"),
            (json!({"A": 1}), "in quotes"),
            (json!({"A=B": "1"}), "`A=B`"),
        ] {
            let message = variables(env).unwrap_err();
            assert!(message.contains(named), "{message}");
        }
    }
}
