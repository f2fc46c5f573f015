//! The functions of a job: built in, commands, scripts, WebAssembly. What a function is, `record` says.

pub mod builtin;
pub mod command;
pub mod context;
pub mod kind;
mod last_resort;
mod process;
pub mod role;
pub mod script;
mod skipping;
mod stored;
#[cfg_attr(not(feature = "wasm"), path = "wasm_left_out.rs")]
pub mod wasm;
mod watchdog;

use mapreduce_api::v1alpha1::{Function, MapReduceJobSpec, check_combine};

pub use self::context::TaskContext;
pub use self::kind::{MapFunction, ReduceFunction};
pub use self::last_resort::LastResort;
pub(crate) use self::process::remove_of_dead as remove_folders_of_dead;
pub use self::role::Role;
pub use self::skipping::map_careful;
use crate::error::{Error, Result};

/// The functions of a job, checked: each can be made any number of times.
#[derive(Clone, Debug)]
pub struct Functions {
    /// The map function.
    pub map: MapFunction,
    /// The combine function.
    pub combine: Option<ReduceFunction>,
    /// The reduce function; none for a map-only job.
    pub reduce: Option<ReduceFunction>,
}

impl Functions {
    /// The functions of a manifest.
    ///
    /// # Errors
    ///
    /// A usage error that names the field, for names and arguments that there aren't, and for
    /// combine functions that can't be applied any number of times.
    pub fn new(spec: &MapReduceJobSpec) -> Result<Self> {
        let identity = Function::builtin("identity");
        let at = |path: &'static str| move |error: Error| error.context_usage(path);
        let map = MapFunction::new(spec.map.function.as_ref().unwrap_or(&identity))
            .map_err(at("spec.map.function"))?;
        let reduce = match &spec.reduce {
            Some(reduce) if !spec.is_map_only() => {
                let function = reduce.function.as_ref().unwrap_or(&identity);
                Some(ReduceFunction::new(function, Role::Reduce).map_err(at("spec.reduce.function"))?)
            }
            _ => None,
        };
        let combine = match &spec.combine {
            Some(combine) => {
                let function = ReduceFunction::new(&combine.function, Role::Combine)
                    .map_err(at("spec.combine.function"))?;
                let before = spec.reduce.as_ref().and_then(|reduce| reduce.function.as_ref());
                check_combine(&combine.function, before)
                    .map_err(|message| at("spec.combine.function")(Error::usage(message)))?;
                Some(function)
            }
            None => None,
        };
        if combine.is_some() && reduce.is_none() {
            return Err(Error::usage("spec.combine: combine requires reduce.function"));
        }
        Ok(Self { map, combine, reduce })
    }
}
