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

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::combine::{Combined, write_combined};
use super::merge::{Merge, merge_down};
use super::run::Spill;
use super::spec::ShuffleSpec;
use crate::error::Result;
use crate::memory::LARGE_RECORD;
use crate::record::Reducer;
use crate::record::block::{BlockCodec, BlockWriter, large_block_start};
use crate::record::spill_store::SpillStore;
use crate::storage::{Location, PART_BYTES, StagedWriter};

/// Where a partition's run is in a shuffle object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// Its bytes; 0 for an empty partition.
    pub bytes: u64,
    /// Its pairs.
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
    /// Its name below the work folder; none where it goes with the commit record.
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

    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        self.extents.iter().map(|extent| extent.bytes).sum()
    }
}

/// How much is merged at once.
#[derive(Clone, Copy, Debug)]
pub struct FanIn(pub usize);

impl FanIn {
    /// As many runs as fit `memory` with a block each.
    pub fn for_memory(memory: u64) -> Self {
        let per_run = 3 * crate::record::block::BLOCK_BYTES as u64;
        Self(usize::try_from(memory / per_run).unwrap_or(usize::MAX).clamp(8, 1000))
    }
}

/// What runs are merged with.
#[derive(Clone, Copy, Debug)]
pub struct MergeOptions<'a> {
    /// How blocks are compressed.
    pub codec: BlockCodec,
    /// How many runs are merged at once.
    pub fan_in: FanIn,
    /// Where runs between merges are kept.
    pub spill_store: &'a Arc<SpillStore>,
    /// The order of pairs.
    pub shuffle_spec: &'a ShuffleSpec,
    /// Bytes that may go with the commit record.
    pub with_record: usize,
}

/// Bytes that go with a commit record at most: what an upload would write with one request too.
pub const SMALL: usize = PART_BYTES;

/// Keeps what is written while it is small, and writes it to an object of its own when it is more.
struct Out<'a> {
    place: &'a Location,
    name: String,
    most: usize,
    small: Vec<u8>,
    large: Option<Box<dyn StagedWriter>>,
}

impl Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(large) = &mut self.large {
            return large.write(bytes);
        }
        if self.small.len() + bytes.len() <= self.most {
            self.small.extend_from_slice(bytes);
            return Ok(());
        }
        let place = self.place.join(&self.name);
        let mut large = place.store.stage(&place.key, &self.place.key)?;
        large.write(&std::mem::take(&mut self.small))?;
        large.write(bytes)?;
        self.large = Some(large);
        Ok(())
    }

    /// The object's name, or what goes with the commit record.
    fn end(self) -> Result<(String, Vec<u8>)> {
        match self.large {
            Some(large) => large.publish().map(|()| (self.name, Vec::new())),
            None => Ok((String::new(), self.small)),
        }
    }
}

/// What [`write()`] has made of a task's runs.
#[derive(Debug)]
pub struct Shuffled {
    /// What the commit record says of it.
    pub object: ShuffleObject,
    /// What goes with the record.
    pub data: Vec<u8>,
    /// What was combined on the way.
    pub combined: Combined,
}

/// Merges the runs of each partition. If that is much it goes to the object `name`.
pub fn write(
    place: &Location,
    name: String,
    spills: &[Spill],
    partitions: u32,
    means: &MergeOptions<'_>,
    mut combiner: Option<Box<dyn Reducer>>,
) -> Result<Shuffled> {
    let MergeOptions { codec, fan_in, spill_store, shuffle_spec, with_record } = *means;
    let mut writer = Out { place, name, most: with_record, small: Vec::new(), large: None };
    let (mut blocks, mut out) = (BlockWriter::new(codec), Vec::new());
    let (mut extents, mut offset, mut sum) =
        (Vec::with_capacity(partitions as usize), 0, Combined::default());
    for partition in 0..partitions {
        let runs = Spill::runs(spills, partition)?;
        let mut extent = Extent { offset, ..Extent::default() };
        // A single run was combined when it was made.
        let mut combiner = if runs.len() > 1 { combiner.as_mut() } else { None };
        let runs = merge_down(runs, fan_in.0, spill_store, shuffle_spec, combiner.as_deref_mut())?;
        let combiner = combiner.map(|combiner| &mut **combiner);
        let merge = Merge::new(runs, shuffle_spec.values_sorted);
        let combined = write_combined(merge, shuffle_spec, combiner, spill_store, &mut |key, value| {
            extent.records += 1;
            let is_large = key.len() + value.len() >= LARGE_RECORD;
            if is_large || blocks.push(key, value) {
                blocks.end(&mut out)?;
                if is_large {
                    // It is written from where it is, and not compressed: that would take twice its memory.
                    out.extend_from_slice(&large_block_start(key, value)?);
                }
                writer.write(&out)?;
                extent.bytes += out.len() as u64;
                out.clear();
            }
            if is_large {
                writer.write(key)?;
                writer.write(value)?;
                extent.bytes += (key.len() + value.len()) as u64;
            }
            Ok(())
        })?;
        blocks.end(&mut out)?;
        writer.write(&out)?;
        extent.bytes += out.len() as u64;
        out.clear();
        offset += extent.bytes;
        sum.input += combined.input;
        sum.output += combined.output;
        extents.push(extent);
    }
    let (name, data) = writer.end()?;
    Ok(Shuffled { object: ShuffleObject { name, extents }, data, combined: sum })
}
