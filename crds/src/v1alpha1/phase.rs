//! `spec.map`, `spec.combine`, `spec.reduce`: the function of each phase and the pods it runs in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::function::Function;

/// The map phase: a function applied to every record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Map {
    /// What is done to each record; `identity` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,

    /// Most pods at once (threads in `mapreduce run`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 10_000)))]
    pub parallelism: Option<i32>,

    /// The image of the pods; the operator's worker image when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 1024)))]
    pub image: Option<String>,

    /// Requests and limits of the pods' worker container, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::any_object"))]
    pub resources: Option<Value>,

    /// The ServiceAccount of the pods; the operator's worker account when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub service_account_name: Option<String>,

    /// A PodTemplateSpec that the pods are made from; the container named `worker` is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::any_object"))]
    pub template: Option<Value>,
}

impl Map {
    /// Whether nothing is said of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A function applied to map output, any number of times, before it is shuffled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Combine {
    /// What is done to the values of a key.
    pub function: Function,
}

/// The reduce phase: a function applied to every key and its values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("has(self.__function__) || (has(self.tasks) && self.tasks == 0)",
                  "reduce needs a function, or tasks: 0 for a map-only job"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reduce {
    /// What is done to each key and its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<Function>,

    /// Number of output partitions; 0 for a map-only job, chosen by the plan when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 0, max = 10_000)))]
    pub tasks: Option<i32>,

    /// Which partition a key goes to.
    #[serde(default)]
    pub partitioner: Partitioner,

    /// The order of keys within a part; by their bytes, ascending, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<KeySort>,

    /// The order of the values of a key.
    #[serde(default)]
    pub value_order: ValueOrder,

    /// Most pods at once (threads in `mapreduce run`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(range(min = 1, max = 10_000)))]
    pub parallelism: Option<i32>,

    /// The image of the pods; the operator's worker image when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 1024)))]
    pub image: Option<String>,

    /// Requests and limits of the pods' worker container, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::any_object"))]
    pub resources: Option<Value>,

    /// The ServiceAccount of the pods; the operator's worker account when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub service_account_name: Option<String>,

    /// A PodTemplateSpec that the pods are made from; the container named `worker` is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "crate::open_schema::any_object"))]
    pub template: Option<Value>,
}

/// Which partition a key goes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(kube::KubeSchema))]
#[cfg_attr(feature = "crd", x_kube(
    validation = ("self.type != 'KeyFields' || (has(self.keyFields) && has(self.keyFields.fields))", "type: KeyFields needs keyFields.fields"),
))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Partitioner {
    /// The kind of partitioner.
    #[serde(rename = "type")]
    pub kind: PartitionerType,

    /// Which fields `KeyFields` goes by, and what stands between a key's fields, for `sort.keyFields` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fields: Option<KeyFieldsPartitioner>,
}

/// Fields of a key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyFieldsPartitioner {
    /// What stands between fields; a TAB unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub separator: Option<String>,

    /// The fields by number, from 1: `1,2` or `1,3-4`. What `type: KeyFields` goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub fields: Option<String>,
}

/// The order of keys within a part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySort {
    /// Smallest or largest first.
    #[serde(default)]
    pub order: SortDirection,

    /// What is compared.
    #[serde(default)]
    pub by: SortBy,

    /// Fields of the key to compare, in GNU sort's notation: `-k1,1 -k2,2nr`. Ties go by the bytes
    /// of the whole key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 256)))]
    pub key_fields: Option<String>,
}

/// Which keys come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum SortDirection {
    /// The smallest.
    #[default]
    Ascending,
    /// The largest.
    Descending,
}

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum SortBy {
    /// Bytes.
    #[default]
    Bytes,
    /// The decimal number that the text begins with, as `sort -n` does; none is 0.
    Numeric,
}

/// The order of the values of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ValueOrder {
    /// Any.
    #[default]
    Unspecified,
    /// By their bytes.
    Sorted,
}

/// The kinds of partitioner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum PartitionerType {
    /// By a fixed hash of the key.
    #[default]
    Hash,
    /// By ranges of keys, from a sample that the plan takes: the parts one after the other are in
    /// total order.
    Range,
    /// By a fixed hash of some fields of the key, while all of it is sorted.
    KeyFields,
}

/// A reference to an object of the job's namespace, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalObject {
    /// Its name.
    #[cfg_attr(feature = "crd", schemars(length(min = 1, max = 253)))]
    pub name: String,
}
