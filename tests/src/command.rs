//! Programs that are run, with their own words when they fail.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// What was run.
    pub line: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// What it wrote.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ended {
    /// What it wrote, if it succeeded.
    pub fn success(self) -> Result<String> {
        if self.ok {
            return Ok(self.stdout);
        }
        bail!("`{}` failed:\n{}{}", self.line, self.stdout, self.stderr)
    }

    /// What it complained of, if it failed.
    pub fn failure(self) -> Result<String> {
        if self.ok {
            bail!("`{}` succeeded, and should have failed:\n{}", self.line, self.stdout);
        }
        Ok(self.stderr)
    }
}

/// Runs a program to its end, with this on its stdin.
pub fn run(command: &mut Command, stdin: &[u8]) -> Result<Ended> {
    let (line, output) = output(command, stdin)?;
    Ok(Ended {
        line,
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The same for one that has to succeed and whose output is not text.
pub fn run_bytes(command: &mut Command, stdin: &[u8]) -> Result<Vec<u8>> {
    let (line, output) = output(command, stdin)?;
    if !output.status.success() {
        bail!("`{line}` failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

fn output(command: &mut Command, stdin: &[u8]) -> Result<(String, Output)> {
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(OsStr::to_string_lossy);
    let line = words.collect::<Vec<_>>().join(" ");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run `{line}`"))?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends without reading its input says itself why.
            if let Some(mut pipe) = pipe {
                let _ = pipe.write_all(stdin);
            }
        });
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("can't wait for `{line}`"))?;
    Ok((line, output))
}
