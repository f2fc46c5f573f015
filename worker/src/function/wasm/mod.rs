//! `wasm`: a WebAssembly component (`worker/wit`), compiled to native code and run in the task's own thread.
//!
//! ```text
//!  records ── 64 KiB ──> map(bytes, ends) ──────────────────────┐
//!                             │                                 ├─ emit(bytes, ends) ──> Collector or part
//!  key, values ── 64 KiB ──> reduce(key, bytes, ends, more) ────┘
//!                             └─ next-values() ──> the merge: 64 KiB at a time
//! ```
//!
//! Byte strings cross the border many at a time: one list has them one after the other, a second says where each
//! ends. A component has what `host` gives it and nothing else: no files, no network, no clock, no environment.
//! What it imports beside that ends it when it is called. Its memory, its stack and the time between two steps are
//! limited.
//!
//! It is compiled once in a process, whatever the number of tasks; instances come from a pool and last as long as
//! an attempt.

mod engine;
mod host;
mod instance;
mod map;
mod reduce;
mod strings;

use std::sync::{Arc, OnceLock};

use mapreduce_api::v1alpha1::SourceFrom;

use self::engine::Compiled;
use self::map::WasmMapper;
use self::reduce::WasmReducer;
use super::context::TaskContext;
use super::role::Role;
use super::stored::SourceLocation;
use crate::error::Result;
use crate::record::{MapOutput, Mapper, Reducer};

/// Whether this build can run components.
pub const IS_THERE: bool = true;

/// A checked component.
#[derive(Clone, Debug)]
pub struct WasmFunction(Arc<CheckedComponent>);

#[derive(Debug)]
struct CheckedComponent {
    role: Role,
    stored: SourceLocation,
    /// Read and compiled once, when the first task needs it.
    compiled: OnceLock<Compiled>,
}

impl WasmFunction {
    /// The component of a manifest.
    pub fn new(from: &SourceFrom, role: Role) -> Result<Self> {
        let stored = SourceLocation::new(from).map_err(|error| error.context_usage("wasm"))?;
        Ok(Self(Arc::new(CheckedComponent { role, stored, compiled: OnceLock::new() })))
    }

    pub(super) fn mapper<O: MapOutput>(&self, context: &TaskContext) -> Box<dyn Mapper<O>> {
        Box::new(WasmMapper::new(self.clone(), context.clone()))
    }

    pub(super) fn reducer(&self, context: &TaskContext) -> Box<dyn Reducer> {
        Box::new(WasmReducer::new(self.clone(), context.clone()))
    }

    fn compiled(&self, context: &TaskContext) -> Result<&Compiled> {
        let CheckedComponent { role, stored, compiled } = &*self.0;
        if let Some(compiled) = compiled.get() {
            return Ok(compiled);
        }
        let bytes = stored.read("component", context)?;
        let made = Compiled::new(&bytes, &stored.name(), *role)?;
        // Another task may have been faster, with the same component.
        Ok(compiled.get_or_init(|| made))
    }
}
