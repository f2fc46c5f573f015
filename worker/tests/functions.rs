//! The same jobs written as each kind of function: the results are the same.

mod common;

#[path = "functions/commands.rs"]
mod commands;
#[path = "functions/conformance.rs"]
mod conformance;
