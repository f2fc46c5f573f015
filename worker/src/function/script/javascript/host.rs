//! What a script calls back while it runs: `emit`, and the next value of a group.
//!
//! The script's functions live as long as its engine, what they reach only as long as a call:
//! `scope` lends it to them.

use crate::error::{Error, Result};
use crate::function::script::not_utf8;
use crate::record::emit::emit_each;
use crate::record::{Emit, Values};

/// The task's side of a call.
pub(super) trait JsHost {
    /// Takes a pair. False when the script has to stop.
    fn emit(&mut self, key: &str, value: &str) -> bool;

    /// The next value of the group with this number. False when the script has to stop.
    fn next(&mut self, group: u64, take: &mut dyn FnMut(&str)) -> bool;
}

environmental::environmental!(scope: trait @JsHost []);

/// Lends a host to what is called within `work`.
pub(super) fn lend<R>(host: &mut dyn JsHost, work: impl FnOnce() -> R) -> R {
    scope::using(host, work)
}

/// Asks the host of the call at hand; none outside a call.
pub(super) fn ask<R>(question: impl FnOnce(&mut dyn JsHost) -> R) -> Option<R> {
    scope::with(|host| question(host))
}

/// Bytes of pairs that are collected before they are handed on, and their number.
const MAX_BYTES: usize = 64 << 10;
const MAX_PAIRS: usize = 8192;

/// What a call reaches.
pub(super) struct JsCall<'a> {
    pub(super) out: &'a mut dyn Emit,
    pub(super) values: Option<&'a mut dyn Values>,
    pub(super) group: u64,
    pub(super) pairs: EmittedPairs,
    /// Whether pairs wait for the end of the call: they go nowhere when it fails.
    pub(super) hold: bool,
    /// Why the script has to stop.
    pub(super) error: Option<Error>,
}

/// Pairs that are emitted and not handed on yet.
#[derive(Debug, Default)]
pub(super) struct EmittedPairs {
    text: Vec<u8>,
    /// Where each key and each value ends.
    ends: Vec<(usize, usize)>,
}

impl EmittedPairs {
    pub(super) fn write(&mut self, out: &mut dyn Emit) -> Result<()> {
        let mut from = 0;
        let pairs = self.ends.iter().map(|&(key, value)| {
            let start = std::mem::replace(&mut from, value);
            Ok((&self.text[start..key], &self.text[key..value]))
        });
        emit_each(pairs, out)?;
        self.text.clear();
        self.ends.clear();
        Ok(())
    }
}

impl JsCall<'_> {
    fn kept(&mut self, done: Result<()>) -> bool {
        match done {
            Ok(()) => true,
            Err(error) => {
                self.error = Some(error);
                false
            }
        }
    }

    /// Hands on all pairs.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.pairs.write(self.out)
    }
}

impl JsHost for JsCall<'_> {
    fn emit(&mut self, key: &str, value: &str) -> bool {
        let EmittedPairs { text, ends } = &mut self.pairs;
        text.extend_from_slice(key.as_bytes());
        let middle = text.len();
        text.extend_from_slice(value.as_bytes());
        ends.push((middle, text.len()));
        if self.hold || (self.pairs.text.len() < MAX_BYTES && self.pairs.ends.len() < MAX_PAIRS) {
            return true;
        }
        let done = self.flush();
        self.kept(done)
    }

    fn next(&mut self, group: u64, take: &mut dyn FnMut(&str)) -> bool {
        // A script may have kept the values of a group that is over.
        let Some(values) = self.values.as_mut().filter(|_| group == self.group) else { return true };
        let done = loop {
            match values.next() {
                Ok(None) => break Ok(()),
                Ok(Some(value)) => match std::str::from_utf8(value) {
                    Ok(text) => {
                        take(text);
                        break Ok(());
                    }
                    Err(_) => {
                        let error = not_utf8("value", value);
                        if let Err(error) = values.bad(error) {
                            break Err(error);
                        }
                    }
                },
                Err(error) => break Err(error),
            }
        };
        self.kept(done)
    }
}
