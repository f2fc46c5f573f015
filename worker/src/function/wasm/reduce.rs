//! A component as a reduce or combine function.

use super::WasmFunction;
use super::instance::Instance;
use super::strings::Strings;
use crate::error::Result;
use crate::function::context::TaskContext;
use crate::function::role::Role;
use crate::record::{Emit, Reducer, Values};

/// Calls the component for each key.
pub(super) struct WasmReducer {
    function: WasmFunction,
    context: TaskContext,
    instance: Option<Instance>,
    first: Strings,
}

impl WasmReducer {
    pub(super) fn new(function: WasmFunction, context: TaskContext) -> Self {
        Self { function, context, instance: None, first: Strings::default() }
    }
}

impl Reducer for WasmReducer {
    fn reduce(&mut self, key: &[u8], values: &mut dyn Values, out: &mut dyn Emit) -> Result<()> {
        let instance = match &mut self.instance {
            Some(instance) => instance,
            none => none.insert(Instance::new(&self.function, &self.context)?),
        };
        self.first.clear();
        let more = self.first.fill(values)?;
        instance.reduce(key, &self.first, more, values, out)
    }

    fn finish(&mut self, out: &mut dyn Emit) -> Result<()> {
        // A combiner goes on with other groups.
        match &mut self.instance {
            Some(instance) if self.function.0.role == Role::Reduce => instance.teardown(out),
            _ => Ok(()),
        }
    }
}
