//! How a job's pairs are arranged: into which partitions, and in which order within one.

use mapreduce_api::v1alpha1::{KeyFieldsPartitioner, PartitionerType, Reduce, ValueOrder};

use super::order::KeyOrder;
use super::partition::KeyPartitioner;
use crate::error::Result;

/// What `spec.reduce` says of partitions and order, checked.
#[derive(Clone, Debug, Default)]
pub struct ShuffleSpec {
    /// The order of keys.
    pub order: KeyOrder,
    /// Whether the values of a key are sorted too.
    pub values_sorted: bool,
    kind: PartitionerType,
    fields: KeyFieldsPartitioner,
}

impl ShuffleSpec {
    /// What a manifest asks for.
    pub fn new(reduce: Option<&Reduce>) -> Result<Self> {
        let Some(reduce) = reduce else { return Ok(Self::default()) };
        let fields = reduce.partitioner.key_fields.clone().unwrap_or_default();
        let separator = fields.separator.as_deref().unwrap_or("\t").as_bytes();
        let order = match &reduce.sort {
            Some(sort) => KeyOrder::new(sort, separator)?,
            None => KeyOrder::default(),
        };
        let values_sorted = reduce.value_order == ValueOrder::Sorted;
        let shuffle_spec = Self { order, values_sorted, kind: reduce.partitioner.kind, fields };
        shuffle_spec.partitioner(1, &[])?;
        Ok(shuffle_spec)
    }

    /// Whether the plan has to take a sample of keys.
    pub fn wants_sample(&self) -> bool {
        self.kind == PartitionerType::Range
    }

    /// The partitioner; `cuts` are the plan's, for ranges.
    pub fn partitioner(&self, partitions: u32, cuts: &[Vec<u8>]) -> Result<KeyPartitioner> {
        Ok(match self.kind {
            PartitionerType::Hash => KeyPartitioner::hash(partitions),
            PartitionerType::Range => KeyPartitioner::range(partitions, cuts.to_vec()),
            PartitionerType::KeyFields => KeyPartitioner::fields(partitions, &self.fields)?,
        })
    }
}
