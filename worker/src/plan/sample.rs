//! Where ranges of keys are cut: by a sample of what the map function emits.
//!
//! The first records of up to [`PIECES`] places spread over the input are mapped, and the keys
//! that come out are cut into partitions of about equal weight.

use super::MapTask;
use super::splits::{Splittability, splittability};
use crate::error::{Error, Result};
use crate::function::map_careful;
use crate::input::reader::Reader;
use crate::record::split::Split;
use crate::shuffle::partition;
use crate::shuffle::sample::KeySample;
use crate::step::RunStep;
use crate::storage::{ListedObject, is_stream};

/// Places that are looked at.
pub(super) const PIECES: usize = 100;
/// Bytes that a place begins with, where it can be cut: its first chunk is mapped.
const PIECE_BYTES: u64 = 64 << 10;
/// Keys of one place that are kept.
const KEYS: usize = 1000;
/// Bytes of them.
const KEY_BYTES: usize = 128 << 10;

/// The stored keys at which partitions begin.
pub(super) fn range_bounds(step: &RunStep, pieces: &[Split], partitions: u32) -> Result<Vec<Vec<u8>>> {
    let mut sample = Vec::new();
    for piece in pieces {
        step.run.check_cancelled()?;
        if is_stream(piece.version.as_deref()) {
            return Err(Error::permanent(format!("{} is a stream, which can't be sampled", piece.url))
                .because(
                    "use another spec.reduce.partitioner than Range, or write it to a file and read that",
                ));
        }
        sample.extend(keys(step, piece)?);
    }
    Ok(partition::range_bounds(sample, partitions))
}

/// Places spread over the input, each the beginning of a split.
pub(super) fn pieces(step: &RunStep, tasks: &[MapTask]) -> Result<Vec<Split>> {
    let splits: Vec<&Split> = tasks.iter().flat_map(|task| &task.splits).collect();
    let per_split = PIECES.div_ceil(splits.len().max(1));
    let mut pieces = Vec::new();
    for split in splits.iter().step_by(splits.len().div_ceil(PIECES).max(1)) {
        pieces.extend(pieces_of(step, split, per_split)?);
    }
    Ok(pieces)
}

/// Small splits spread over a large one, where it can be cut: an object that is read whole is looked at
/// where it begins.
fn pieces_of(step: &RunStep, split: &Split, wanted: usize) -> Result<Vec<Split>> {
    let most = (split.bytes() / PIECE_BYTES).max(1) as usize;
    let mut count = wanted.min(most) as u64;
    // What the plan has cut can be cut, but for frames; what it has left whole may be compressed.
    if count > 1 && (!split.codec.is_none() || split.is_whole() && !can_cut(step, split)?) {
        count = 1;
    }
    Ok((0..count)
        .map(|i| Split { start: split.start + split.bytes() * i / count, ..split.clone() })
        .collect())
}

fn can_cut(step: &RunStep, split: &Split) -> Result<bool> {
    let place = step.places.stores.locate(&split.url)?;
    let entry = ListedObject { key: place.key.clone(), size: split.size, version: split.version.clone() };
    Ok(matches!(splittability(step, &place, &entry)?, Splittability::Anywhere))
}

fn keys(step: &RunStep, piece: &Split) -> Result<Vec<Vec<u8>>> {
    let mut reader =
        Reader::open(piece, &step.format, step.spec().input.compression, &step.places.stores, Vec::new())?;
    let mut out = KeySample::new(&step.definition.shuffle_spec.order);
    let chunk = match reader.next_chunk() {
        // The map task's to tell.
        Err(error) if error.is_bad_record() && step.spec().skips() => None,
        read => read?,
    };
    if let Some(chunk) = chunk {
        let context = step.sample_context();
        let mut function = step.definition.functions.map.make(&context);
        function.begin(piece, &mut out)?;
        match &context.skipping {
            None => function.map_chunk(&chunk, &mut out)?,
            Some(skipping) => map_careful(&mut *function, &chunk, skipping, &mut out)?,
        };
        function.finish(&mut out)?;
    }
    out.into_keys(KEYS, KEY_BYTES)
}
