//! `command.env`: the variables of a command, with texts or with what the cluster has for them.
//!
//! The operator gives a pod the value of a `valueFrom` under a name that both sides make of it
//! alone ([`Variable::pod_name`]); from there the worker gives it to the command. So the variables of a
//! command are never those of the worker itself.

use serde_json::Value;

/// A variable of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value, or where that is.
    pub value: VariableValue,
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq)]
pub enum VariableValue {
    /// The value itself.
    Text(String),
    /// What a pod's `valueFrom` says: a key of a Secret or a ConfigMap, a field of the pod.
    From(Value),
}

impl Variable {
    /// The name under which a pod has the value of a `valueFrom`.
    pub fn pod_name(from: &Value) -> String {
        // FNV-1a: the same for the operator and the worker, whatever they were built with.
        let hash = from.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("MAPREDUCE_VALUE_{hash:016X}")
    }
}

/// The variables of `env`, in the order in which they were written.
///
/// # Errors
///
/// What is wrong with them, in one line: the schema takes both forms and so checks neither.
pub(super) fn variables(env: Option<&Value>) -> Result<Vec<Variable>, String> {
    let variables = match env {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, value)| Ok(Variable { name: name.clone(), value: text(name, value)? }))
            .collect::<Result<_, String>>()?,
        Some(Value::Array(list)) => list.iter().map(variable).collect::<Result<_, String>>()?,
        Some(other) => return Err(format!("a list of {{name, value}} or a map, not {other}")),
    };
    match variables.iter().find(|v: &&Variable| v.name.is_empty() || v.name.contains(['=', '\0'])) {
        None => Ok(variables),
        Some(Variable { name, .. }) => Err(format!("`{name}` is not a variable name")),
    }
}

fn variable(item: &Value) -> Result<Variable, String> {
    const FIELDS: [&str; 3] = ["name", "value", "valueFrom"];
    let fields = item.as_object().ok_or_else(|| format!("an item is {{name, value}}, not {item}"))?;
    let name = fields.get("name").and_then(Value::as_str).ok_or_else(|| format!("{item} has no name"))?;
    if let Some(other) = fields.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        return Err(format!("unknown field `{other}` of `{name}`: there are name, value, valueFrom"));
    }
    let value = match (fields.get("value"), fields.get("valueFrom")) {
        (None, None) => VariableValue::Text(String::new()),
        (Some(value), None) => text(name, value)?,
        (None, Some(from @ Value::Object(sources))) if sources.len() == 1 => {
            VariableValue::From(from.clone())
        }
        (None, Some(_)) => {
            return Err(format!("valueFrom of `{name}` has one source, such as secretKeyRef: {{name, key}}"));
        }
        (Some(_), Some(_)) => return Err(format!("`{name}` has one of: value, valueFrom")),
    };
    Ok(Variable { name: name.to_owned(), value })
}

fn text(name: &str, value: &Value) -> Result<VariableValue, String> {
    match value {
        Value::String(text) => Ok(VariableValue::Text(text.clone())),
        other => Err(format!("the value of `{name}` is a text, not {other}: put it in quotes")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Variable, VariableValue};

    fn variables(env: &Value) -> Result<Vec<Variable>, String> {
        super::variables(Some(env))
    }

    #[test]
    fn variables_are_a_list_as_in_a_pod_or_a_map() {
        let both = [("A", "1"), ("B", "")].map(|(name, value)| Variable {
            name: name.to_owned(),
            value: VariableValue::Text(value.to_owned()),
        });
        assert_eq!(variables(&json!([{"name": "A", "value": "1"}, {"name": "B"}])).unwrap(), both);
        assert_eq!(variables(&json!({"A": "1", "B": ""})).unwrap(), both);
        assert_eq!(super::variables(None).unwrap(), []);
        let from = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        let found = variables(&json!([{"name": "A", "valueFrom": from}])).unwrap();
        assert_eq!(found, [Variable { name: "A".to_owned(), value: VariableValue::From(from) }]);
    }

    #[test]
    fn values_from_elsewhere_have_a_name_of_their_own_in_a_pod() {
        let name = |key: &str| Variable::pod_name(&json!({"secretKeyRef": {"name": "s", "key": key}}));
        assert_eq!(name("k"), name("k"));
        assert_ne!(name("k"), name("l"));
        assert!(name("k").bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }

    #[test]
    fn what_is_no_variable_is_refused_by_name() {
        for (env, named) in [
            (json!("A=1"), "A=1"),
            (json!([{"value": "1"}]), "has no name"),
            (json!([{"name": "A", "valu": "1"}]), "`valu`"),
            (json!([{"name": "A", "value": "1", "valueFrom": {"a": {}}}]), "one of: value, valueFrom"),
            (json!([{"name": "A", "valueFrom": {}}]), "valueFrom of `A` has one source"),
            (json!([{"name": "A", "valueFrom": "secret"}]), "valueFrom of `A` has one source"),
            (json!({"A": 1}), "in quotes"),
            (json!({"A=B": "1"}), "`A=B`"),
        ] {
            let message = variables(&env).unwrap_err();
            assert!(message.contains(named), "{message}");
        }
    }
}
