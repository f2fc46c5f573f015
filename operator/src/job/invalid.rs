//! What is wrong with a job that the CRD's schema let in, and reading the fields that the schema leaves open.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is wrong with a job that the CRD's schema let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// An open part isn't what it has to be.
    #[error("{field} is not a valid {kind}: {message}")]
    Part {
        /// Which one.
        field: String,
        /// What it has to be.
        kind: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Files that would not outlive a pod.
    #[error("{0}")]
    Files(String),
    /// A combine function would change the result.
    #[error("{field}: {message}")]
    Combine {
        /// The combine function.
        field: String,
        /// Why, and the remedy.
        message: String,
    },
}

/// Reads an open part as what it has to be.
pub(super) fn parse<T>(field: &str, kind: &'static str, value: Option<&Value>) -> Result<Option<T>, Invalid>
where
    T: DeserializeOwned + Serialize,
{
    let Some(value) = value else { return Ok(None) };
    let bad = |message: String| Invalid::Part { field: field.to_owned(), kind, message };
    let parsed: T = serde_json::from_value(value.clone()).map_err(|e| bad(e.to_string()))?;
    // The types read past what they don't know, and a toleration with a typo would be lost in silence.
    let again = serde_json::to_value(&parsed).map_err(|e| bad(e.to_string()))?;
    match unknown(value, &again, "") {
        Some(path) => Err(bad(format!("unknown field {}", path.trim_start_matches('.')))),
        None => Ok(Some(parsed)),
    }
}

/// The first field of `written` that did not survive being parsed.
fn unknown(written: &Value, parsed: &Value, path: &str) -> Option<String> {
    match (written, parsed) {
        (Value::Object(written), Value::Object(parsed)) => written.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match parsed.get(key) {
                Some(parsed) => unknown(value, parsed, &path),
                None if value.is_null() => None,
                None => Some(path),
            }
        }),
        (Value::Array(written), Value::Array(parsed)) => {
            let items = written.iter().zip(parsed).enumerate();
            items.into_iter().find_map(|(i, (w, p))| unknown(w, p, &format!("{path}[{i}]")))
        }
        _ => None,
    }
}
