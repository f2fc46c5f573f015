//! `csv` and `json`: members of a record that is a JSON text, as those of `Csv`, `Parquet` and
//! `JsonLines` input are.

use crate::error::{Error, Result};
use crate::record::chunk::Record;
pub(super) use crate::record::json::Path;
use crate::record::json::{find, plain};
use crate::record::{MapOutput, Mapper};

/// A member → another. One that is not asked for is the record's own key or value.
#[derive(Clone, Debug)]
pub struct Lookup {
    key: Option<Path>,
    value: Option<Path>,
    scratch: Vec<u8>,
}

impl Lookup {
    pub(super) fn new(key: Option<Path>, value: Option<Path>) -> Self {
        Self { key, value, scratch: Vec::new() }
    }

    /// Whether the record's own key is emitted.
    pub(super) fn takes_keys(&self) -> bool {
        self.key.is_none()
    }
}

fn no_json(error: impl std::fmt::Display) -> Error {
    Error::permanent(format!("no JSON text: {error}"))
        .because("the builtins csv and json take records of input.format Csv, JsonLines or Parquet")
}

impl<O: MapOutput> Mapper<O> for Lookup {
    fn map(&mut self, record: &Record<'_>, out: &mut O) -> Result<()> {
        let text = std::str::from_utf8(record.value).map_err(no_json)?;
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => {
                let [k, v] = find(text, [key, value]).map_err(no_json)?;
                out.emit(needed(k, key)?.as_bytes(), needed(v, value)?.as_bytes())
            }
            (Some(key), None) => {
                let [k] = find(text, [key]).map_err(no_json)?;
                out.emit(needed(k, key)?.as_bytes(), record.value)
            }
            (None, Some(value)) => {
                let [v] = find(text, [value]).map_err(no_json)?;
                out.emit(record.key.to_bytes(&mut self.scratch), needed(v, value)?.as_bytes())
            }
            (None, None) => out.emit(record.key.to_bytes(&mut self.scratch), record.value),
        }
    }
}

/// A member as text; one that is missing makes a bad record.
fn needed<'a>(json: Option<&'a str>, path: &Path) -> Result<std::borrow::Cow<'a, str>> {
    let json = json.ok_or_else(|| Error::permanent(format!("the record has no `{path}`")))?;
    plain(json).map_err(no_json)
}
