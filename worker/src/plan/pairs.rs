//! From the pairs of a step to the map tasks of the next one: by what the commit records say of them.

use super::splits::{pack, parts, target};
use super::{Division, MapTask};
use crate::record::pairs::PairsObject;
use crate::record::split::Codec;
use crate::record::split::Split;
use crate::step::RunStep;

/// Divides pairs into map tasks: large objects are cut where blocks begin, small ones are packed.
pub(super) fn divide(objects: &[PairsObject], step: &RunStep, division: Division) -> Vec<MapTask> {
    let sizes = objects.iter().map(|object| object.bytes);
    let target = target(sizes, step.spec().input.split_size.0, division);
    let splits = objects.iter().filter(|object| object.bytes > 0).flat_map(|object| {
        edges(object, target).into_iter().map(|(start, end)| split(object, step, start, end))
    });
    pack(splits.collect(), target)
}

fn split(object: &PairsObject, step: &RunStep, start: u64, end: u64) -> Split {
    Split {
        url: step.places.pairs.url(&object.name),
        version: None,
        size: object.bytes,
        start,
        end,
        codec: Codec::None,
    }
}

/// Cuts an object into parts of about equal size, of at most about `target` bytes.
fn edges(object: &PairsObject, target: u64) -> Vec<(u64, u64)> {
    let parts = parts(object.bytes, target);
    let mut starts: Vec<u64> = (0..parts)
        .map(|i| (u128::from(object.bytes) * u128::from(i) / u128::from(parts)) as u64)
        .map(|wanted| object.cuts.partition_point(|&cut| cut <= wanted))
        .map(|behind| object.cuts.get(behind.wrapping_sub(1)).copied().unwrap_or(0))
        .collect();
    starts.dedup();
    let ends = starts.iter().skip(1).copied().chain([object.bytes]);
    starts.iter().copied().zip(ends).collect()
}

/// Up to about `most` places spread over the pairs, for a sample.
pub(super) fn pieces(objects: &[PairsObject], step: &RunStep, most: usize) -> Vec<Split> {
    let all: Vec<_> =
        objects.iter().flat_map(|object| object.cuts.iter().map(move |&cut| (object, cut))).collect();
    let stride = all.len().div_ceil(most).max(1);
    all.iter().step_by(stride).map(|&(object, cut)| split(object, step, cut, object.bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::edges;
    use crate::record::pairs::PairsObject;

    fn object(blocks: &[u64]) -> PairsObject {
        let cuts = blocks
            .iter()
            .scan(0, |at, bytes| {
                let start = *at;
                *at += bytes;
                Some(start)
            })
            .collect();
        PairsObject { bytes: blocks.iter().sum(), cuts, ..PairsObject::default() }
    }

    #[test]
    fn an_object_is_cut_only_where_blocks_begin() {
        assert_eq!(edges(&object(&[10, 10, 10, 10]), 20), [(0, 20), (20, 40)]);
        assert_eq!(edges(&object(&[30, 5, 5]), 20), [(0, 40)], "a large block is not cut");
        assert_eq!(edges(&object(&[5, 30, 5]), 20), [(0, 5), (5, 40)]);
        assert_eq!(edges(&object(&[10]), 1), [(0, 10)]);
        assert_eq!(edges(&object(&[7, 7, 7]), 1), [(0, 7), (7, 14), (14, 21)]);
    }
}
