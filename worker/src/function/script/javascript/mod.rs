//! JavaScript: an engine (QuickJS-ng) in the task's thread runs the script.
//!
//! ```text
//!  record ──> map(key, value, emit, counter) ─────┐
//!                              │                  ├─ emit ──> pairs ── 64 KiB ──> Collector or part
//!  key ──> reduce(key, values, emit, counter) ────┘
//!                        └── next ──> the merge: a value at a time
//! ```
//!
//! The engine has the language and nothing else: no files, no network, no processes, no clock to
//! wait for. Its memory, its stack and the time between two steps are limited.

mod engine;
mod exception;
mod host;
mod map;
mod promises;
mod reduce;
mod text;

use std::io::Write as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::engine::Engine;
pub(super) use self::map::JavaScriptMapper;
pub(super) use self::reduce::JavaScriptReducer;
use crate::error::{Error, ErrorKind, Result};
use crate::function::context::{TaskContext, UserCounters};
use crate::function::last_resort::LastResort;
use crate::function::role::Role;
use crate::function::script::ScriptFunction;
use crate::function::watchdog::Watchdog;

/// The script, loaded for a task.
fn start(function: &ScriptFunction, context: &TaskContext) -> Result<Engine> {
    let limits = Watchdog::new(context.cancel.clone(), context.timeout);
    let print = |line: &str| {
        // Nobody may be listening there.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    };
    let source = function.source(context)?;
    let last_resort = &context.last_resort;
    let (role, name) = (function.0.role, &function.0.name);
    let engine = Engine::load(role, name, source, &limits, last_resort, &context.counters, print)?;
    engine.set_up()?;
    Ok(engine)
}

/// Longer than this a check does not wait for a script to be loaded.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// Loads a script to see whether that can be done, and whether its function is there. What stands outside of
/// functions is run for that, with what every script has: no files, no network. No function is.
pub(super) fn check(role: Role, name: &str, source: &str) -> Result<()> {
    let limits = Watchdog::new(CancellationToken::new(), CHECK_TIME);
    let (counters, last_resort) = (UserCounters::default(), LastResort::default());
    match Engine::load(role, name, source, &limits, &last_resort, &counters, |_| ()) {
        Err(error) if error.kind() == ErrorKind::Permanent => {
            let at = error.causes().iter().map(|cause| cause.trim()).collect::<Vec<_>>().join(" ");
            let at = if at.is_empty() { at } else { format!(" ({at})") };
            Err(Error::usage(format!("{error}{at}")))
        }
        // What a script does beside that is its own matter, when it is run.
        _ => Ok(()),
    }
}
