//! WebAssembly in a build without it: the feature `wasm` brings it.

use mapreduce_api::v1alpha1::SourceFrom;

use super::context::TaskContext;
use super::role::Role;
use super::stored::SourceLocation;
use crate::error::{Error, Result};
use crate::record::chunk::Record;
use crate::record::{Emit, MapOutput, Mapper, Reducer, Values};

/// Whether this build can run components.
pub const IS_THERE: bool = false;

/// A component that can be checked and not run.
#[derive(Clone, Debug)]
pub struct WasmFunction;

impl WasmFunction {
    /// The component of a manifest.
    pub fn new(from: &SourceFrom, _role: Role) -> Result<Self> {
        SourceLocation::new(from).map_err(|error| error.context_usage("wasm"))?;
        Ok(Self)
    }

    #[allow(clippy::unused_self, reason = "as where it is there")]
    pub(super) fn mapper<O: MapOutput>(&self, _context: &TaskContext) -> Box<dyn Mapper<O>> {
        Box::new(LeftOut)
    }

    #[allow(clippy::unused_self, reason = "as where it is there")]
    pub(super) fn reducer(&self, _context: &TaskContext) -> Box<dyn Reducer> {
        Box::new(LeftOut)
    }
}

struct LeftOut;

impl LeftOut {
    fn refuse() -> Error {
        Error::permanent("this program was built without WebAssembly: build it with the feature `wasm`")
    }
}

impl<O: MapOutput> Mapper<O> for LeftOut {
    fn map(&mut self, _record: &Record<'_>, _out: &mut O) -> Result<()> {
        Err(Self::refuse())
    }
}

impl Reducer for LeftOut {
    fn reduce(&mut self, _key: &[u8], _values: &mut dyn Values, _out: &mut dyn Emit) -> Result<()> {
        Err(Self::refuse())
    }
}
