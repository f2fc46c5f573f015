//! The same jobs written as each kind of function: the results are the same.
#![allow(
    clippy::needless_pass_by_value,
    clippy::format_collect,
    reason = "a table is easier to read when it hands over what it makes"
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
