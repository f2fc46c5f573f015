//! A component at work for an attempt.

use std::io::Write as _;

use wasmtime::component::Func;
use wasmtime::{ResourceLimiter, Store, Trap, UpdateDeadline, WasmBacktrace, bail};

use super::WasmFunction;
use super::host::{WasmCall, lend};
use super::strings::Strings;
use crate::error::{Error, MAX_LINE, Result, shortened};
use crate::function::context::{TaskContext, UserCounters};
use crate::function::role::Role;
use crate::function::watchdog::{MEMORY_BYTES, STACK_BYTES, Watchdog};
use crate::record::{Emit, Values};

/// Bytes of the last line of its log that a message has.
const MAX_OF_A_LINE: usize = 4 << 10;
/// Entries of a component's tables: the functions that it calls through pointers.
const MAX_OF_A_TABLE: usize = 20_000;
/// Functions of a stack that a message has.
const MAX_FRAMES: usize = 16;

/// What belongs to an instance.
pub(super) struct InstanceState {
    pub(super) limits: Watchdog,
    pub(super) counters: UserCounters,
    last_line: Option<String>,
    wanted_more_memory: bool,
}

impl InstanceState {
    /// Writes a line to the task's log.
    pub(super) fn log(&mut self, mut line: String) {
        // Nobody may be listening there.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
        let most = line.floor_char_boundary(MAX_OF_A_LINE);
        line.truncate(most);
        self.last_line = Some(line);
    }
}

impl ResourceLimiter for InstanceState {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let is_too_much = desired > MEMORY_BYTES;
        self.wanted_more_memory |= is_too_much;
        Ok(!is_too_much)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_OF_A_TABLE)
    }
}

/// An instance of a component.
pub(super) struct Instance {
    store: Store<InstanceState>,
    function: Func,
    teardown: Option<Func>,
    /// What messages call it, as `the map component`.
    name: String,
}

impl Instance {
    pub(super) fn new(function: &WasmFunction, context: &TaskContext) -> Result<Self> {
        let compiled = function.compiled(context)?;
        let role = function.0.role;
        let limits = Watchdog::new(context.cancel.clone(), context.timeout);
        let mut stop = limits.watch();
        let state = InstanceState {
            limits,
            counters: context.counters.clone(),
            last_line: None,
            wanted_more_memory: false,
        };
        let mut store = Store::new(compiled.0.engine(), state);
        store.limiter(|state| state);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if stop() {
                bail!("stopped");
            }
            Ok(UpdateDeadline::Continue(1))
        });
        let name = format!("the {role} component");
        let instance = match compiled.0.instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) => return Err(failed(store.data(), &name, &error)),
        };
        let teardown = instance.get_func(&mut store, "teardown");
        let wanted = wanted(role);
        let Some(function) = instance.get_func(&mut store, wanted) else {
            return Err(Error::permanent(format!("{name} has no function `{wanted}`")));
        };
        Ok(Self { store, function, teardown, name })
    }

    /// Maps records.
    pub(super) fn map(&mut self, records: &Strings, out: &mut dyn Emit) -> Result<()> {
        let Strings { bytes, ends } = records;
        self.call(None, out, |function, store| {
            function.typed::<(&[u8], &[u32]), Returned>(&store)?.call(store, (bytes, ends))
        })
    }

    /// Reduces a group. `first` has its first values; whether there are more.
    pub(super) fn reduce(
        &mut self,
        key: &[u8],
        first: &Strings,
        more: bool,
        values: &mut dyn Values,
        out: &mut dyn Emit,
    ) -> Result<()> {
        let Strings { bytes, ends } = first;
        self.call(Some(values), out, |function, store| {
            let function = function.typed::<(&[u8], &[u8], &[u32], bool), Returned>(&store)?;
            function.call(store, (key, bytes, ends, more))
        })
    }

    /// Has it end its work.
    pub(super) fn teardown(&mut self, out: &mut dyn Emit) -> Result<()> {
        let Some(teardown) = self.teardown else { return Ok(()) };
        self.call(None, out, |_, store| teardown.typed::<(), Returned>(&store)?.call(store, ()))
    }

    fn call<'a>(
        &'a mut self,
        values: Option<&'a mut dyn Values>,
        out: &'a mut dyn Emit,
        work: impl FnOnce(Func, &mut Store<InstanceState>) -> wasmtime::Result<Returned>,
    ) -> Result<()> {
        let Self { store, function, name, .. } = self;
        store.data().limits.step();
        let mut call = WasmCall { out, values, name, error: None };
        let done = lend(&mut call, || work(*function, store));
        // An error of ours in a call of the component's is why the component failed.
        if let Some(error) = call.error.take() {
            return Err(error);
        }
        match done {
            Ok((Ok(()),)) => Ok(()),
            Ok((Err(message),)) => {
                Err(Error::of_function(format!("{name} failed: {}", shortened(message, MAX_LINE)))
                    .of_record())
            }
            Err(error) => Err(failed(store.data(), name, &error)),
        }
    }
}

/// What a call returns.
type Returned = (std::result::Result<(), String>,);

/// Why a component did not come to its end, with what its author knows of it.
fn failed(state: &InstanceState, name: &str, error: &wasmtime::Error) -> Error {
    if let Err(error) = state.limits.check(name) {
        return error;
    }
    let cause = error.root_cause().to_string();
    let trap = error.downcast_ref::<Trap>();
    let failed = if state.wanted_more_memory {
        Error::of_function(format!("{name} failed: it needs more than {} MiB of memory", MEMORY_BYTES >> 20))
    } else if trap == Some(&Trap::StackOverflow) {
        Error::of_function(format!("{name} failed: it needs more than {} KiB of stack", STACK_BYTES >> 10))
    } else if cause.starts_with("unknown import") {
        Error::permanent(format!("{name} failed: {cause}")).because(
            "a component has the functions of worker/wit/function.wit and no files, network or clock",
        )
    } else if let Some(line) = &state.last_line {
        let line = shortened(line.clone(), MAX_LINE);
        Error::of_function(format!("{name} failed: {cause}; the last that it logged was: {line}"))
    } else {
        Error::of_function(format!("{name} failed: {cause}"))
    };
    let failed = match stack(error) {
        Some(stack) => failed.because(stack),
        None => failed,
    };
    failed.of_record()
}

/// The functions that were being called, the last first.
fn stack(error: &wasmtime::Error) -> Option<String> {
    let frames = error.downcast_ref::<WasmBacktrace>()?.frames();
    let names = frames.iter().take(MAX_FRAMES).map(|frame| match frame.func_name() {
        Some(name) => format!("    at {name}"),
        None => format!("    at function {}", frame.func_index()),
    });
    Some(names.collect::<Vec<_>>().join("\n")).filter(|stack| !stack.is_empty())
}

/// The name of the function that a component has to have.
pub(super) fn wanted(role: Role) -> &'static str {
    match role {
        Role::Map => "map",
        // A combine function is a reduce function.
        Role::Combine | Role::Reduce => "reduce",
    }
}
