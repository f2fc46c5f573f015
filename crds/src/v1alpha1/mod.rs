//! `mapreduce.dev/v1alpha1`: the manifest that a user writes.
//!
//! ```text
//! MapReduceJobSpec ─┬─ input   what to read and how to cut it into splits and records
//!                   ├─ map     function, parallelism, pod settings
//!                   ├─ combine function, applied to map output any number of times
//!                   ├─ reduce  function, number of partitions, partitioner, pod settings
//!                   ├─ steps   several maps and reduces in a chain, in place of the three
//!                   ├─ output  where the parts go
//!                   └─ storage, shuffle, retries, deadlines, cleanup …
//! ```
//!
//! A field is here only when it works: one that is accepted and ignored is a defect.

mod combine;
#[cfg(feature = "crd")]
mod crd;
#[cfg(feature = "crd")]
mod fixed;
mod function;
mod input;
mod job;
mod max_failed_tasks;
mod output;
mod phase;
mod phases;
mod small;
#[cfg(feature = "crd")]
mod status;
mod step;
mod storage;
mod variable;

#[cfg(feature = "cel")]
pub(crate) use combine::RULE_MESSAGE as COMBINE_RULE_MESSAGE;
pub use combine::check_combine;
#[cfg(feature = "crd")]
pub use crd::crd;
pub use function::{Builtin, Command, ConfigMapKeyRef, Function, Script, ScriptLanguage, SourceFrom};
pub use input::{
    BinaryColumns, Compression, CsvFormat, FixedLengthFormat, Input, InputFormat, InputFormatType,
    JsonLinesFormat, KeyValueFormat, LinesFormat, ParquetFormat, WholeFileFormat,
};
#[cfg(feature = "crd")]
pub use job::MapReduceJob;
pub use job::{Cleanup, MapReduceJobSpec, SkipBadRecords};
pub use max_failed_tasks::MaxFailedTasks;
pub use output::{IfExists, KeyValueOutput, Output, OutputCompression, OutputFormat, OutputFormatType};
pub use phase::{
    Combine, KeyFieldsPartitioner, KeySort, LocalObject, Map, Partitioner, PartitionerType, Reduce, SortBy,
    SortDirection, ValueOrder,
};
pub use phases::Phases;
pub use small::{Small, SmallMode};
#[cfg(feature = "crd")]
pub use status::{Condition, JobInput, JobOutput, JobPhase, JobStep, MapReduceJobStatus, PhaseCounts};
pub use step::Step;
pub use storage::{S3Storage, Shuffle, ShuffleCompression, Storage};
pub use variable::{Variable, VariableValue};

/// The API group of the resource.
pub const GROUP: &str = "mapreduce.dev";
/// The `apiVersion` of a manifest.
pub const API_VERSION: &str = "mapreduce.dev/v1alpha1";
/// The `kind` of a manifest.
pub const KIND: &str = "MapReduceJob";
/// `spec.managedBy` of jobs that this operator runs; jobs with another value are left alone.
pub const MANAGED_BY: &str = "mapreduce.dev/operator";
