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
mod values;
mod words;

use mapreduce_api::v1alpha1::{Builtin, Function};

pub use self::join::JoinKind;
pub use self::map::MapFunction;
pub use self::reduce::ReduceFunction;
pub(crate) use self::reduce::not_a_number;
use crate::error::{Error, Result};

/// The built-in function of a manifest's `function`.
fn builtin(function: &Function) -> Result<&Builtin> {
    function.builtin.as_ref().ok_or_else(|| Error::usage("a function is exactly one of: builtin"))
}

/// The error for a name that there isn't.
fn unknown(kind: &str, name: &str, names: &[&str]) -> Error {
    Error::usage(format!("there is no {kind} builtin `{name}`: there are {}", names.join(", ")))
}

#[cfg(test)]
mod tests;
