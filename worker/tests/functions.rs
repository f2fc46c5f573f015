//! The same jobs written as each kind of function: the results are the same.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::format_collect,
    missing_docs,
    missing_debug_implementations,
    reason = "a test fails by panicking"
)]

mod common;

#[path = "functions/commands.rs"]
mod commands;
#[path = "functions/conformance.rs"]
mod conformance;
#[path = "functions/javascript.rs"]
mod javascript;
#[path = "functions/python.rs"]
mod python;
#[path = "functions/scripts.rs"]
mod scripts;
#[path = "functions/wasm.rs"]
mod wasm;
