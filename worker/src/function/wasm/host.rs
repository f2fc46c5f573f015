//! What a component calls back while it runs, lent to it for a call.

use super::strings::{Strings, emit};
use crate::error::{Error, Result};
use crate::record::{Emit, Values};

/// The task's side of a call.
pub(super) trait WasmHost {
    /// Takes pairs. False when the component has to stop.
    fn emit(&mut self, bytes: &[u8], ends: &[u32]) -> bool;

    /// The next values of the group. None when the component has to stop.
    fn next_values(&mut self) -> Option<Strings>;
}

environmental::environmental!(scope: trait @WasmHost []);

/// Lends a host to what is called within `work`.
pub(super) fn lend<R>(host: &mut dyn WasmHost, work: impl FnOnce() -> R) -> R {
    scope::using(host, work)
}

/// Asks the host of the call at hand; none outside a call.
pub(super) fn ask<R>(question: impl FnOnce(&mut dyn WasmHost) -> R) -> Option<R> {
    scope::with(|host| question(host))
}

/// What a call reaches.
pub(super) struct WasmCall<'a> {
    pub(super) out: &'a mut dyn Emit,
    pub(super) values: Option<&'a mut dyn Values>,
    /// What messages call the component.
    pub(super) name: &'a str,
    /// Why the component has to stop.
    pub(super) error: Option<Error>,
}

impl WasmCall<'_> {
    fn kept<T>(&mut self, done: Result<T>) -> Option<T> {
        done.map_err(|error| self.error = Some(error)).ok()
    }
}

impl WasmHost for WasmCall<'_> {
    fn emit(&mut self, bytes: &[u8], ends: &[u32]) -> bool {
        let done = emit(bytes, ends, self.name, self.out);
        self.kept(done).is_some()
    }

    fn next_values(&mut self) -> Option<Strings> {
        let mut strings = Strings::default();
        let done = match &mut self.values {
            Some(values) => strings.fill(*values),
            None => Ok(false),
        };
        self.kept(done).map(|_| strings)
    }
}

/// Takes pairs that wait for the end of a call: they go nowhere when it fails.
#[derive(Debug, Default)]
pub(super) struct HeldPairs(Strings);

impl HeldPairs {
    pub(super) fn write(self, out: &mut dyn Emit) -> Result<()> {
        emit(&self.0.bytes, &self.0.ends, "a call", out)
    }
}

impl Emit for HeldPairs {
    fn emit(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.push(key)?;
        self.0.push(value)
    }
}

/// Takes pairs that nobody wants.
pub(super) struct Nowhere;

impl Emit for Nowhere {
    fn emit(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }
}
