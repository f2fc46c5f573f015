//! The shuffle object: all that an attempt at a map task has to say, partition by partition.
//!
//! ```text
//!  commit/map-00017              = commit record │ '\n' │ run of partition 0 │ run of partition 1 │ …    (blocks, see `block`)
//!  shuffle/map-00017-<attempt>   = run of partition 0 │ run of partition 1 │ …          where it is larger than `SMALL`
//! ```
//!
//! Where each partition begins and ends is in the task's commit record; empty partitions take no
//! bytes. One object per task keeps the number of objects at M + R, however many partitions there are, and that of
//! the writes too where they are small.

use serde::{Deserialize, Serialize};

use crate::storage::PART_BYTES;

/// Where a partition's run is in a shuffle object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// The bytes; 0 for an empty partition.
    pub bytes: u64,
    /// The pairs.
    pub records: u64,
}

impl Extent {
    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// What a commit record says of a shuffle object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShuffleObject {
    /// The name below the work folder; none where it goes with the commit record.
    pub name: String,
    /// Where each partition is; in the record itself counted from the record's end, if it goes with it.
    pub extents: Vec<Extent>,
}

impl ShuffleObject {
    /// Whether the data goes with the commit record.
    pub fn is_with_record(&self) -> bool {
        self.name.is_empty()
    }

    /// Says where data is that goes with a record: in which object, and from which byte on.
    pub fn is_behind(&mut self, name: &str, start: u64) {
        name.clone_into(&mut self.name);
        self.extents.iter_mut().for_each(|extent| extent.offset += start);
    }

    /// The bytes.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.bytes).sum()
    }
}

/// Bytes that go with a commit record at most: what an upload would write with one request too.
pub const SMALL: usize = PART_BYTES;
