//! A script as a reduce or combine function.

use super::engine::{self, Calls, Engine};
use super::host::{EmittedPairs, JsCall};
use crate::error::Result;
use crate::function::context::TaskContext;
use crate::function::role::Role;
use crate::function::script::{ScriptFunction, not_utf8};
use crate::record::{Emit, Reducer, Values};

/// Calls the script for each key.
pub(in crate::function::script) struct JavaScriptReducer {
    function: ScriptFunction,
    context: TaskContext,
    engine: Option<Engine>,
    groups: u64,
    pairs: EmittedPairs,
}

impl JavaScriptReducer {
    pub(in crate::function::script) fn new(function: ScriptFunction, context: TaskContext) -> Self {
        Self { function, context, engine: None, groups: 0, pairs: EmittedPairs::default() }
    }

    /// Has the script called, and hands on what it emits.
    fn call<'a>(
        &mut self,
        values: Option<&'a mut dyn Values>,
        out: &'a mut dyn Emit,
        work: impl FnOnce(&Calls<'_, '_>) -> Result<()>,
    ) -> Result<()> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let pairs = std::mem::take(&mut self.pairs);
        let mut call = JsCall { out, values, group: self.groups, pairs, hold: false, error: None };
        engine.with(&mut call, work)?;
        call.flush()?;
        self.pairs = call.pairs;
        Ok(())
    }
}

impl Reducer for JavaScriptReducer {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        if self.engine.is_none() {
            self.engine = Some(super::start(&self.function, &self.context)?);
        }
        self.groups += 1;
        let group = self.groups;
        let Ok(key) = std::str::from_utf8(key) else {
            while values.next()?.is_some() {
                values.bad(not_utf8("key", key))?;
            }
            return Ok(());
        };
        self.call(Some(values), out, |calls| calls.reduce(key, group))
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<()> {
        // A combiner goes on with other groups.
        if self.function.0.role == Role::Combine {
            return Ok(());
        }
        self.call(None, out, engine::teardown)?;
        self.engine = None;
        Ok(())
    }
}
