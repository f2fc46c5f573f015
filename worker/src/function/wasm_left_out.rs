//! WebAssembly in a build without it: the feature `wasm` brings it.

use mapreduce_api::v1alpha1::SourceFrom;

use super::context::TaskContext;
use super::kind::Role;
use super::{Mapper, Reducer};
use crate::error::{Error, Result};

/// There is none.
#[derive(Clone, Debug)]
pub enum WasmFunction {}

impl WasmFunction {
    /// An error that says what to do.
    pub fn new(_from: &SourceFrom, _role: Role) -> Result<Self> {
        Err(Error::usage(
            "wasm: this program was built without WebAssembly: build it with the feature `wasm`",
        ))
    }

    pub(super) fn mapper(&self, _context: &TaskContext) -> Box<dyn Mapper> {
        match *self {}
    }

    pub(super) fn reducer(&self, _context: &TaskContext) -> Box<dyn Reducer> {
        match *self {}
    }
}
