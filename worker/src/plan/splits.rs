//! From objects to map tasks: large objects are cut into equal splits, small ones are packed.

use serde::{Deserialize, Serialize};

use super::Division;
use crate::error::Result;
use crate::input::codec::Codec;
use crate::input::list::Object;
use crate::input::source::{Split, codec_of};
use crate::job::Job;
use crate::storage::{Entry, Location};

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
    /// Its bytes.
    pub bytes: u64,
    /// Why.
    pub why: String,
}

/// Smaller splits are not worth a task of their own.
const LEAST_SPLIT: u64 = 1 << 20;
/// What an object costs beside its bytes, in bytes: so many small objects are not one long task.
const PER_OBJECT: u64 = 16 << 10;

/// Divides objects into map tasks.
pub(super) fn divide(
    objects: &[Object],
    job: &Job,
    division: Division,
) -> Result<(Vec<MapTask>, Vec<Unsplit>)> {
    let input = &job.file.spec.input;
    let total: u64 = objects.iter().map(|object| object.entry.size + PER_OBJECT).sum();
    let fine = (total / division.least_tasks.max(1) as u64).max(LEAST_SPLIT);
    let coarse = total.div_ceil(division.most_tasks.max(1) as u64);
    // A job without reducers has a part per task: their number is the manifest's alone.
    let target = if division.least_tasks > 1 { input.split_size.0.min(fine) } else { input.split_size.0 };
    let target = target.max(coarse).max(1);
    let (mut pieces, mut unsplit) = (Vec::new(), Vec::new());
    for object in objects.iter().filter(|object| object.entry.size > 0) {
        let size = object.entry.size;
        let mut parts = size.div_ceil(target);
        if parts > 1
            && let Some(why) = why_whole(job, &object.location, &object.entry)?
        {
            unsplit.push(Unsplit { url: object.url.clone(), bytes: size, why });
            parts = 1;
        }
        // The last edge is the object's end, whatever it is a multiple of.
        let align = job.format.align();
        let cut = |i: u64| match (u128::from(size) * u128::from(i) / u128::from(parts)) as u64 {
            at if at == size => size,
            at => at / align * align,
        };
        let edges = (0..parts).map(|i| (cut(i), cut(i + 1))).filter(|(start, end)| start < end);
        pieces.extend(edges.map(|(start, end)| Split {
            url: object.url.clone(),
            version: object.entry.version.clone(),
            size,
            start,
            end,
        }));
    }
    Ok((pack(pieces, target), unsplit))
}

/// Why an object can't be cut, if it can't.
pub(super) fn why_whole(job: &Job, place: &Location, entry: &Entry) -> Result<Option<String>> {
    if let Some(why) = job.format.why_whole() {
        return Ok(Some(why.to_owned()));
    }
    if !place.store.has_ranges(&entry.key)? {
        return Ok(Some("its server gives it in one piece only".to_owned()));
    }
    Ok(match codec_of(place, entry, job.file.spec.input.compression)? {
        Codec::None => None,
        codec => Some(format!("it is {} data", format!("{codec:?}").to_lowercase())),
    })
}

/// Puts neighbouring whole objects into one task until it is full; a part of an object is a task.
fn pack(pieces: Vec<Split>, target: u64) -> Vec<MapTask> {
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
    use super::{MapTask, pack};
    use crate::input::source::Split;

    fn whole(name: &str, size: u64) -> Split {
        Split { url: name.to_owned(), version: None, size, start: 0, end: size }
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
