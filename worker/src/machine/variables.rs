//! Environment variables.
#![allow(clippy::disallowed_methods, reason = "this is what is called instead")]

use std::ffi::OsString;
use std::path::PathBuf;

use super::simulated;

/// A variable, if it is set and is text.
pub fn text(name: &str) -> Option<String> {
    get(name)?.into_string().ok()
}

/// A variable, if it is set.
pub fn get(name: &str) -> Option<OsString> {
    match simulated() {
        None => std::env::var_os(name),
        Some(machine) => machine.variable(name),
    }
}

/// Where temporary files go.
pub fn temporary_folder() -> PathBuf {
    match simulated() {
        None => std::env::temp_dir(),
        Some(machine) => machine.variable("TMPDIR").map_or_else(|| "/tmp".into(), PathBuf::from),
    }
}
