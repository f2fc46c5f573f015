//! A WebAssembly component to be a job's functions.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command;

/// Builds `examples/wasm/rust`, a word count; where the component is.
pub fn word_count() -> Result<PathBuf> {
    let root = Path::new("..").canonicalize()?;
    let target = root.join("target/wasm");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--release", "--target", "wasm32-wasip2", "--manifest-path"]);
    cargo.arg(root.join("examples/wasm/rust/Cargo.toml")).arg("--target-dir").arg(&target);
    command::run(cargo.env_remove("RUSTFLAGS"), b"")?.success()?;
    Ok(target.join("wasm32-wasip2/release/word_count.wasm"))
}
