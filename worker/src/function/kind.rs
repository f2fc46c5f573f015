//! The kinds of function: built in, or the user's own.

use mapreduce_api::v1alpha1::Function;

use super::builtin;
use super::command::CommandFunction;
use super::context::TaskContext;
use super::role::Role;
use super::script::ScriptFunction;
use super::skipping::SkippingReducer;
use super::wasm::WasmFunction;
use crate::error::{Error, Result};
use crate::record::{MapOutput, Mapper, Reducer};

/// A checked map function.
#[derive(Clone, Debug)]
pub enum MapFunction {
    /// One that comes with the engine.
    Builtin(builtin::BuiltinMap),
    /// A user's program.
    Command(CommandFunction),
    /// A user's script.
    Script(ScriptFunction),
    /// A user's WebAssembly component.
    Wasm(WasmFunction),
}

impl MapFunction {
    /// The function of a manifest.
    pub fn new(function: &Function) -> Result<Self> {
        only_one(function)?;
        match (&function.command, &function.script, &function.wasm) {
            (Some(command), _, _) => CommandFunction::new(command, Role::Map).map(Self::Command),
            (_, Some(script), _) => ScriptFunction::new(script, Role::Map).map(Self::Script),
            (_, _, Some(from)) => WasmFunction::new(from, Role::Map).map(Self::Wasm),
            (None, None, None) => builtin::BuiltinMap::new(function).map(Self::Builtin),
        }
    }

    /// Whether it looks at the keys of records.
    pub fn takes_keys(&self) -> bool {
        match self {
            Self::Builtin(function) => function.takes_keys(),
            // A command reads values.
            Self::Command(_) => false,
            Self::Script(_) | Self::Wasm(_) => true,
        }
    }

    /// Whether it is one of ours.
    pub fn is_builtin(&self) -> bool {
        matches!(self, Self::Builtin(_))
    }

    /// One for an attempt at a task.
    pub fn make<O: MapOutput>(&self, context: &TaskContext) -> Box<dyn Mapper<O>> {
        match self {
            Self::Builtin(function) => function.make(),
            Self::Command(function) => function.mapper(context),
            Self::Script(function) => function.mapper(context),
            Self::Wasm(function) => function.mapper(context),
        }
    }
}

/// A checked reduce or combine function.
#[derive(Clone, Debug)]
pub enum ReduceFunction {
    /// One that comes with the engine.
    Builtin(builtin::BuiltinReduce),
    /// A user's program.
    Command(CommandFunction),
    /// A user's script.
    Script(ScriptFunction),
    /// A user's WebAssembly component.
    Wasm(WasmFunction),
}

impl ReduceFunction {
    /// The function of a manifest.
    pub fn new(function: &Function, role: Role) -> Result<Self> {
        only_one(function)?;
        match (&function.command, &function.script, &function.wasm) {
            (Some(command), _, _) => CommandFunction::new(command, role).map(Self::Command),
            (_, Some(script), _) => ScriptFunction::new(script, role).map(Self::Script),
            (_, _, Some(from)) => WasmFunction::new(from, role).map(Self::Wasm),
            (None, None, None) => builtin::BuiltinReduce::new(function).map(Self::Builtin),
        }
    }

    /// The function, where it is one of ours.
    pub fn builtin(&self) -> Option<&builtin::BuiltinReduce> {
        match self {
            Self::Builtin(function) => Some(function),
            Self::Command(_) | Self::Script(_) | Self::Wasm(_) => None,
        }
    }

    /// Whether it takes the values of a key in byte order.
    pub fn wants_sorted_values(&self) -> bool {
        self.builtin().is_some_and(builtin::BuiltinReduce::wants_sorted_values)
    }

    /// One for an attempt at a task.
    pub fn make(&self, context: &TaskContext) -> Box<dyn Reducer> {
        let made = match self {
            Self::Builtin(function) => function.make(&context.values),
            Self::Command(function) => function.reducer(context),
            Self::Script(function) => function.reducer(context),
            Self::Wasm(function) => function.reducer(context),
        };
        SkippingReducer::wrap(made, context.skipping.as_ref())
    }

    /// One for a combiner: its results are values again.
    pub fn combiner(&self, context: &TaskContext) -> Box<dyn Reducer> {
        let made = match self {
            Self::Builtin(function) => function.combiner(&context.values),
            Self::Command(function) => function.reducer(context),
            Self::Script(function) => function.reducer(context),
            Self::Wasm(function) => function.reducer(context),
        };
        SkippingReducer::wrap(made, context.skipping.as_ref())
    }
}

fn only_one(function: &Function) -> Result<()> {
    let Function { builtin, command, script, wasm } = function;
    let set = [builtin.is_some(), command.is_some(), script.is_some(), wasm.is_some()];
    match set.into_iter().filter(|set| *set).count() {
        1 => Ok(()),
        _ => Err(Error::usage("a function is exactly one of: builtin, command, script, wasm")),
    }
}
