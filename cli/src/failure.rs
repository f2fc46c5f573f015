//! What goes wrong, as the user sees it: one line, then the causes, and an exit code.

use std::process::ExitCode;

use mapreduce_worker::error::{Error, ErrorKind};

use crate::report;

/// The job failed.
pub(crate) const FAILED: u8 = 1;
/// Bad usage or manifest: nothing was touched.
pub(crate) const USAGE: u8 = 2;

/// The exit code of a failure.
pub(crate) fn code(error: &Error) -> u8 {
    if error.kind() == ErrorKind::Usage { USAGE } else { FAILED }
}

/// Prints a failure on stderr, and with `--json` on stdout too.
pub(crate) fn show(json: bool, error: &Error) {
    eprintln!("mapreduce: {error}");
    if let Some(whereabouts) = error.whereabouts() {
        eprintln!("  {whereabouts}");
    }
    for cause in error.causes() {
        // A traceback keeps its lines; each is moved a little.
        eprintln!("  {}", cause.trim_end().replace('\n', "\n  "));
    }
    if json {
        println!("{}", report::failed(error));
    }
}

/// Ends a command.
pub(crate) fn exit(json: bool, result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show(json, &error);
            ExitCode::from(code(&error))
        }
    }
}
