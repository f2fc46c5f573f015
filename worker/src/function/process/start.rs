//! Starts a program: its folder, its environment, its pipes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::environment;
use super::folder::{Folder, exclusively};
use super::remedies::Remedies;
use super::stderr::Stderr;
use super::{BLOCK_BYTES, ChildProcess};
use crate::error::{Error, IoContext as _, Result};
use crate::function::context::TaskContext;
use crate::machine::clock;
use crate::record::split::Split;

/// What to start.
#[derive(Debug)]
pub(in crate::function) struct Program<'a> {
    /// What messages call it, as `the map command`.
    pub(in crate::function) name: String,
    /// What its user can do about its failures.
    pub(in crate::function) remedies: Remedies,
    /// The program and its arguments.
    pub(in crate::function) argv: &'a [String],
    /// Variables of the manifest.
    pub(in crate::function) env: &'a [(String, OsString)],
    /// Files of its working folder.
    pub(in crate::function) files: &'a BTreeMap<String, String>,
}

impl ChildProcess {
    /// Starts a program. `input` is what a map function reads.
    pub(in crate::function) fn start(
        program: &Program<'_>,
        context: &TaskContext,
        input: Option<&Split>,
    ) -> Result<Self> {
        hide();
        let folder = Folder::new(&context.scratch, program.files)?;
        let cannot = || format!("can't start {}", program.name);
        let (first, arguments) = program
            .argv
            .split_first()
            .ok_or_else(|| Error::permanent(format!("{} is empty", program.name)))?;
        let path = if program.files.contains_key(first) {
            folder.path().join(first).into_os_string()
        } else {
            first.into()
        };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .envs(environment::environment(context, input, folder.path(), program.env))
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = exclusively(|| command.spawn()).map_err(|error| not_started(program, &error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = Stderr::new(child.stderr.take(), context.counters.clone());
        let process = Self {
            name: program.name.clone(),
            remedies: program.remedies,
            child,
            stdin,
            stdout,
            stderr,
            buffer: vec![0; BLOCK_BYTES],
            filled: 0,
            moved: clock::now(),
            context: context.clone(),
            reaped: false,
            _folder: folder,
        };
        prepare(process.stdin.as_ref()).context(cannot)?;
        prepare(process.stdout.as_ref()).context(cannot)?;
        prepare(process.stderr.pipe()).context(cannot)?;
        Ok(process)
    }
}

/// What our environment holds can't be read in `/proc` from now on, but by root: a process that we
/// start has our user id, and without this it would have our credentials too.
fn hide() {
    #[cfg(target_os = "linux")]
    {
        static HIDDEN: std::sync::Once = std::sync::Once::new();
        // An old or restricted kernel may refuse it; the environment of the process is a list anyway.
        HIDDEN.call_once(|| {
            let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
        });
    }
}

/// Our end of a pipe never waits, and takes more than the usual 64 KiB where the system allows.
fn prepare(pipe: Option<&impl AsFd>) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    let flags = rustix::fs::fcntl_getfl(pipe)?;
    rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?;
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    Ok(())
}

#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 256 << 10;

fn not_started(program: &Program<'_>, error: &io::Error) -> Error {
    let first = program.argv.first().map_or("", String::as_str);
    let message = format!("can't start {}: `{first}`: {error}", program.name);
    match error.kind() {
        io::ErrorKind::NotFound => Error::permanent(message).because(program.remedies.of_a_missing_program()),
        io::ErrorKind::PermissionDenied => Error::permanent(message),
        _ => Error::retry(message),
    }
}
