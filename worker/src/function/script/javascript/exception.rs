//! What scripts throw, as errors.

use rquickjs::{Ctx, Value};

use super::text;
use crate::error::{Error, MAX_LINE, MAX_TRACEBACK, shortened};
use crate::function::watchdog::MEMORY_BYTES;

/// An exception's value as an error.
pub(super) fn explained<'js>(ctx: &Ctx<'js>, name: &str, value: &Value<'js>) -> Error {
    let mebibytes = MEMORY_BYTES >> 20;
    if value.is_null() {
        // All that is left to an engine without memory for an exception.
        return Error::of_function(format!(
            "{name} failed: it threw null, most often because it needs more than {mebibytes} MiB of memory"
        ));
    }
    let Some(exception) = value.as_exception() else {
        let mut shown = String::new();
        let _ = text::push(ctx, value, "exception", &mut shown);
        return Error::of_function(format!("{name} failed: it threw {}", shortened(shown, MAX_LINE)));
    };
    let kind = exception.get::<_, String>("name").unwrap_or_else(|_| "Error".to_owned());
    let message = exception.message().unwrap_or_default();
    let line = message.lines().next().unwrap_or_default();
    let failed = match (kind.as_str(), line) {
        ("InternalError", "out of memory") => {
            Error::of_function(format!("{name} failed: it needs more than {mebibytes} MiB of memory"))
        }
        _ => {
            let line = shortened(line.to_owned(), MAX_LINE);
            Error::of_function(format!("{name} failed: {kind}: {line}"))
        }
    };
    match exception.stack() {
        Some(stack) if !stack.trim().is_empty() => {
            let message = shortened(message, MAX_TRACEBACK / 2);
            let stack = shortened(stack.trim_end().to_owned(), MAX_TRACEBACK / 2);
            failed.because(format!("{kind}: {message}\n{stack}"))
        }
        _ => failed,
    }
}
