//! The functions that come with the engine, by name.

mod aggregate;
mod args;
mod extract;
mod fields;
mod grep;
mod join;
mod lookup;
mod map;
mod numeric;
mod reduce;
mod scan;
mod stats;
mod top;
mod unique;
mod values;
mod words;

use mapreduce_api::v1alpha1::{Builtin, Function};

pub use self::join::JoinKind;
pub use self::map::BuiltinMap;
pub use self::reduce::BuiltinReduce;
use crate::error::{Error, Result};

/// The built-in function of a manifest's `function`.
fn builtin(function: &Function) -> Result<&Builtin> {
    function.builtin.as_ref().ok_or_else(|| Error::usage("a function is exactly one of: builtin"))
}

/// The error for a name that there isn't.
fn unknown(kind: &str, name: &str, names: &[&str]) -> Error {
    Error::usage(format!("there is no {kind} builtin `{name}`: there are {}", names.join(", ")))
}

/// The groups of a pattern's first match as the scanner finds them, where it answers.
#[cfg(fuzzing)]
pub fn groups_by_scan(pattern: &regex::bytes::Regex, text: &[u8]) -> Option<Option<Vec<Vec<u8>>>> {
    let mut scan = scan::Scan::new(pattern)?;
    match scan.find(text) {
        scan::Found::Match => {
            Some(Some((1..pattern.captures_len()).map(|i| scan.group(text, i).to_vec()).collect()))
        }
        scan::Found::Nothing => Some(None),
        scan::Found::Unsure => None,
    }
}

#[cfg(test)]
mod tests;
