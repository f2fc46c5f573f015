//! Identifiers that do not mix.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps the text as it is.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id! {
    /// One run of a job: the resource's UID on a cluster, a random UUID in `mapreduce run`.
    /// Every intermediate object's name begins with it, so that runs never meet.
    JobId
}

string_id! {
    /// One attempt at a task: the pod's UID on a cluster. Two attempts of a task may run at
    /// once; the attempt's id in every name it writes keeps them apart.
    AttemptId
}

/// The two kinds of task that read and write data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Reads splits, writes one partitioned object.
    Map,
    /// Reads the same partitions of every map task, writes output parts.
    Reduce,
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Reduce => "reduce",
        })
    }
}

/// A task of a job: `map-00017`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// Which phase the task belongs to.
    pub kind: TaskKind,
    /// Its number in the plan, from 0: the completion index of its pod.
    pub index: u32,
}

impl TaskId {
    /// The map task with this number.
    pub fn map(index: u32) -> Self {
        Self { kind: TaskKind::Map, index }
    }

    /// The reduce task with this number.
    pub fn reduce(index: u32) -> Self {
        Self { kind: TaskKind::Reduce, index }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:05}", self.kind, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::TaskId;

    #[test]
    fn a_task_is_named_by_kind_and_five_digits() {
        assert_eq!(TaskId::map(17).to_string(), "map-00017");
        assert_eq!(TaskId::reduce(123_456).to_string(), "reduce-123456");
    }
}
