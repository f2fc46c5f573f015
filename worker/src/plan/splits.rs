//! From objects to map tasks: large objects are cut into equal splits, small ones are packed.

use serde::{Deserialize, Serialize};

use super::Division;
use crate::error::Result;
use crate::input::frames::FrameFormat;
use crate::input::list::Object;
use crate::input::source::codec_of;
use crate::machine::threads::in_parallel;
use crate::record::split::Codec;
use crate::record::split::Split;
use crate::step::RunStep;
use crate::storage::{ListedObject, Location};

/// What one map task reads, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapTask {
    /// Splits of large objects, or whole small ones.
    pub splits: Vec<Split>,
}

impl MapTask {
    /// Bytes, as stored.
    pub fn bytes(&self) -> u64 {
        self.splits.iter().map(Split::bytes).sum()
    }
}

/// An object that is larger than a split but can't be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsplit {
    /// The object.
    pub url: String,
    /// The bytes.
    pub bytes: u64,
    /// Why.
    pub why: String,
}

/// Smaller splits are not worth a task of their own.
const MIN_SPLIT: u64 = 1 << 20;
/// What an object costs beside its bytes, in bytes: so many small objects are not one long task.
const PER_OBJECT: u64 = 16 << 10;

/// How an object can be cut.
pub(super) enum Splittability {
    /// At any byte.
    Anywhere,
    /// Where a compressed frame begins.
    AtFrames(Codec, FrameFormat),
    /// Not at all, and why.
    Nowhere(String),
}

/// Divides objects into map tasks.
pub(super) fn divide(
    objects: &[Object],
    step: &RunStep,
    division: Division,
) -> Result<(Vec<MapTask>, Vec<Unsplit>)> {
    let input = &step.spec().input;
    let target = target(objects.iter().map(|object| object.entry.size), input.split_size.0, division);
    let objects: Vec<&Object> = objects.iter().filter(|object| object.entry.size > 0).collect();
    let cuts = in_parallel(&objects, |object| match object.entry.size {
        size if parts(size, target) == 1 => Ok(Splittability::Nowhere(String::new())),
        _ => splittability(step, &object.location, &object.entry),
    })?;
    let edges = edges(&objects, &cuts, target, step.format.align())?;
    let (mut pieces, mut unsplit) = (Vec::new(), Vec::new());
    for ((object, cuts), edges) in objects.iter().zip(cuts).zip(edges) {
        let Object { url, entry, .. } = object;
        let codec = match cuts {
            Splittability::AtFrames(codec, _) if edges.len() > 2 => codec,
            _ => Codec::None,
        };
        if let Splittability::Nowhere(why) = cuts
            && parts(entry.size, target) > 1
        {
            unsplit.push(Unsplit { url: url.clone(), bytes: entry.size, why });
        }
        pieces.extend(edges.windows(2).map(|edges| Split {
            url: url.clone(),
            version: entry.version.clone(),
            size: entry.size,
            start: edges[0],
            end: edges[1],
            codec,
        }));
    }
    Ok((pack(pieces, target), unsplit))
}

/// Bytes of a split, for objects of these sizes.
pub(super) fn target(sizes: impl Iterator<Item = u64>, split_size: u64, division: Division) -> u64 {
    let total: u64 = sizes.map(|size| size + PER_OBJECT).sum();
    let fine = (total / division.least_tasks.max(1) as u64).max(MIN_SPLIT);
    let coarse = total.div_ceil(division.most_tasks.max(1) as u64);
    // A job without reducers has a part per task: their number is the manifest's alone.
    let target = if division.least_tasks > 1 { split_size.min(fine) } else { split_size };
    target.max(coarse).max(1)
}

/// How many splits an object of this size is. One that is larger than a split by a little is not cut into halves:
/// objects that other systems wrote are often just over the usual sizes.
pub(super) fn parts(size: u64, target: u64) -> u64 {
    size.div_ceil(target.saturating_add(target / 32)).max(1)
}

/// Where the pieces of each object begin and end, 0 and the object's size among them.
fn edges(objects: &[&Object], cuts: &[Splittability], target: u64, align: u64) -> Result<Vec<Vec<u64>>> {
    let wanted: Vec<(usize, u64)> = (0..objects.len())
        .filter(|&i| !matches!(cuts[i], Splittability::Nowhere(_)))
        .flat_map(|i| {
            let size = objects[i].entry.size;
            let parts = parts(size, target);
            (1..parts).map(move |part| (i, (u128::from(size) * u128::from(part) / u128::from(parts)) as u64))
        })
        .collect();
    let found = in_parallel(&wanted, |&(i, at)| match &cuts[i] {
        Splittability::AtFrames(_, frames) => frames.find_in(&objects[i].location, &objects[i].entry, at),
        _ => Ok(Some(at / align * align)),
    })?;
    // The last edge is the object's end, whatever it is a multiple of.
    let mut edges: Vec<Vec<u64>> = objects.iter().map(|object| vec![0, object.entry.size]).collect();
    for ((i, _), at) in wanted.into_iter().zip(found) {
        edges[i].extend(at);
    }
    for edges in &mut edges {
        edges.sort_unstable();
        edges.dedup();
    }
    Ok(edges)
}

/// How an object can be cut.
pub(super) fn splittability(step: &RunStep, place: &Location, entry: &ListedObject) -> Result<Splittability> {
    let nowhere = |why: &str| Ok(Splittability::Nowhere(why.to_owned()));
    if let Some(why) = step.format.why_whole() {
        return nowhere(why);
    }
    if !place.store.has_ranges(&entry.key)? {
        return nowhere("its server gives it in one piece only");
    }
    let codec = codec_of(place, entry, step.spec().input.compression)?;
    if codec.is_none() {
        return Ok(Splittability::Anywhere);
    }
    let why = |and: &str| format!("it is {} data{and}", format!("{codec:?}").to_lowercase());
    match FrameFormat::of(codec).filter(|_| step.format.can_begin_anywhere()) {
        None => nowhere(&why("")),
        Some(frames) if !frames.are_in(place, entry)? => nowhere(&why(match frames {
            FrameFormat::Bgzf => " and not in blocks, as bgzip makes them",
            FrameFormat::Zstd => " and not in several frames of at most 4 MiB",
        })),
        Some(_) if step.format.is_keyed_by_offset() && step.definition.functions.map.takes_keys() => {
            nowhere(&why(" and the map function takes its offsets, which show only from its beginning"))
        }
        Some(_) if step.spec().skips() => {
            nowhere(&why(" and skipped records are told with offsets, which show only from its beginning"))
        }
        Some(frames) => Ok(Splittability::AtFrames(codec, frames)),
    }
}

/// Puts neighbouring whole objects into one task until it is full; a part of an object is a task.
pub(super) fn pack(pieces: Vec<Split>, target: u64) -> Vec<MapTask> {
    let mut tasks: Vec<MapTask> = Vec::new();
    let mut left = 0;
    for piece in pieces {
        let cost = if piece.is_whole() { piece.bytes() + PER_OBJECT } else { u64::MAX };
        match tasks.last_mut() {
            Some(task) if cost <= left => {
                left -= cost;
                task.splits.push(piece);
            }
            _ => {
                left = target.saturating_sub(cost);
                tasks.push(MapTask { splits: vec![piece] });
            }
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::{MapTask, pack, parts};
    use crate::record::split::Codec;
    use crate::record::split::Split;

    #[test]
    fn an_object_is_cut_into_as_many_splits_as_it_fills_and_some_bytes_are_no_split() {
        let split = 128 << 20;
        for (size, want) in
            [(0, 1), (1, 1), (split, 1), (split + 50, 1), (split * 33 / 32, 1), (split * 17 / 16, 2)]
        {
            assert_eq!(parts(size, split), want, "{size}");
        }
        assert_eq!((parts(10 * split, split), parts(100 * split, split)), (10, 97));
        assert_eq!((parts(3, 1), parts(u64::MAX, u64::MAX)), (3, 1));
    }

    fn whole(name: &str, size: u64) -> Split {
        Split { url: name.to_owned(), version: None, size, start: 0, end: size, codec: Codec::None }
    }

    fn names(tasks: &[MapTask]) -> Vec<Vec<&str>> {
        tasks.iter().map(|task| task.splits.iter().map(|split| split.url.as_str()).collect()).collect()
    }

    #[test]
    fn small_objects_are_packed_and_large_ones_stay_alone() {
        let mib = 1 << 20;
        let pieces =
            vec![whole("a", mib), whole("b", mib), whole("c", 9 * mib), whole("d", 3 * mib), whole("e", mib)];
        assert_eq!(names(&pack(pieces, 4 * mib)), [vec!["a", "b"], vec!["c"], vec!["d"], vec!["e"]]);
    }

    #[test]
    fn many_tiny_objects_are_several_tasks() {
        let pieces = (0..1000).map(|i| whole(&i.to_string(), 10)).collect();
        let tasks = pack(pieces, 1 << 20);
        assert!(tasks.len() > 10, "{}", tasks.len());
    }
}
