//! The shuffle index: where each partition is in each map task's shuffle object, by partition, so
//! that a reduce task reads its own part of it and not every task's commit record.
//!
//! ```text
//!  index   = head names totals section*                little endian
//!  head    = "MRINDEX2" │ tasks u32 │ partitions u32 │ bytes of names u64 │ XXH3 of all before u64
//!  names   = JSON list of the tasks' shuffle objects │ XXH3 u64
//!  totals  = per partition: bytes u64, then XXH3 u64
//!  section = per task: offset u64 │ bytes u64 │ records u64, then XXH3 u64      one per partition
//! ```
//!
//! The last map task to commit writes it. The commit records don't change any more by then, so
//! that two tasks that both take themselves for the last write the same bytes.
//!
//! The totals say how large partitions have become: each reduce task finds out by itself, and all of them
//! alike, which ones are its own ([`shares`]).

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::object::{Extent, ShuffleObject};
use crate::error::{Error, Result};
use crate::storage::Location;

const MAGIC: &[u8; 8] = b"MRINDEX2";
const HEAD: usize = 32;
const EXTENT: usize = 24;
/// The index's name in the work folder.
pub const NAME: &str = "index";

/// The index of these shuffle objects, which are those of map tasks 0, 1, ….
pub fn encode(objects: &[ShuffleObject], partitions: u32) -> Result<Vec<u8>> {
    let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).collect();
    let names =
        serde_json::to_vec(&names).map_err(|e| Error::permanent("can't write the index").because(e))?;
    let mut out = Vec::with_capacity(HEAD + names.len() + partitions as usize * (objects.len() * EXTENT + 8));
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(objects.len() as u32).to_le_bytes());
    out.extend_from_slice(&partitions.to_le_bytes());
    out.extend_from_slice(&(names.len() as u64).to_le_bytes());
    seal(&mut out, 0);
    let from = out.len();
    out.extend_from_slice(&names);
    seal(&mut out, from);
    let from = out.len();
    for partition in 0..partitions as usize {
        let total: u64 = objects
            .iter()
            .filter_map(|object| object.extents.get(partition))
            .map(|extent| extent.bytes)
            .sum();
        out.extend_from_slice(&total.to_le_bytes());
    }
    seal(&mut out, from);
    for partition in 0..partitions as usize {
        let from = out.len();
        for object in objects {
            let extent = object.extents.get(partition).copied().unwrap_or_default();
            for n in [extent.offset, extent.bytes, extent.records] {
                out.extend_from_slice(&n.to_le_bytes());
            }
        }
        seal(&mut out, from);
    }
    Ok(out)
}

/// Appends the checksum of what was written since `from`.
fn seal(out: &mut Vec<u8>, from: usize) {
    let sum = xxh3_64(&out[from..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Checks and takes off a checksum.
fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (content, sum) = bytes.split_last_chunk::<8>()?;
    (cfg!(fuzzing) || xxh3_64(content) == u64::from_le_bytes(*sum)).then_some(content)
}

/// The part of an index that a reduce task needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// The shuffle objects' names, by map task.
    pub names: Vec<String>,
    /// The task's partitions.
    pub range: Range<u32>,
    /// Per partition of the range, where it is in each of the objects.
    pub partitions: Vec<Vec<Extent>>,
}

/// Reads the part of the index in a work folder that is about the partitions of the reduce task `task` of
/// `tasks`.
pub fn read(work: &Location, task: u32, tasks: u32) -> Result<Index> {
    let place = work.join(NAME);
    let get = |range: Range<u64>| place.store.read(&place.key, range);
    parse(task, tasks, get)
        .and_then(|index| index.ok_or_else(|| Error::retry("its checksum is wrong")))
        .map_err(|error| error.context(format!("can't read the shuffle index {}", place.url(&place.key))))
}

fn parse(task: u32, tasks: u32, get: impl Fn(Range<u64>) -> Result<Vec<u8>>) -> Result<Option<Index>> {
    let head = get(0..HEAD as u64)?;
    let Some(head) = unseal(&head).filter(|head| head.starts_with(MAGIC)) else { return Ok(None) };
    let (objects, partitions) = (u32_at(head, 8) as usize, u32_at(head, 12));
    let section = objects * EXTENT + 8;
    let ends = (HEAD as u64 + 8).checked_add(u64_at(head, 16));
    let ends =
        ends.and_then(|names| names.checked_add(u64::from(partitions) * 8 + 8).map(|all| (names, all)));
    let Some((names_end, totals_end)) = ends else { return Ok(None) };
    let names_and_totals = get(HEAD as u64..totals_end)?;
    let (names, totals) = names_and_totals.split_at((names_end - HEAD as u64) as usize);
    let Some(names) = unseal(names).and_then(|names| serde_json::from_slice::<Vec<String>>(names).ok())
    else {
        return Ok(None);
    };
    let Some(totals) = unseal(totals) else { return Ok(None) };
    let totals: Vec<u64> = totals.chunks_exact(8).map(|total| u64_at(total, 0)).collect();
    let Some(range) = shares(&totals, tasks).into_iter().nth(task as usize) else { return Ok(None) };
    let section_at =
        |partition: u32| totals_end.checked_add(u64::from(partition).checked_mul(section as u64)?);
    let (Some(from), Some(to)) = (section_at(range.start), section_at(range.end)) else { return Ok(None) };
    let sections = if from < to { get(from..to)? } else { Vec::new() };
    let mut found = Vec::with_capacity(range.len());
    for section in sections.chunks(section) {
        let Some(extents) = unseal(section) else { return Ok(None) };
        found.push(extents.chunks_exact(EXTENT).map(extent).collect());
    }
    let whole = names.len() == objects && found.len() == range.len();
    Ok(whole.then_some(Index { names, range, partitions: found }))
}

/// The partitions of each reduce task: neighbours, and about as many bytes for each task.
pub fn shares(totals: &[u64], tasks: u32) -> Vec<Range<u32>> {
    let partitions = totals.len() as u32;
    if partitions <= tasks {
        return (0..tasks).map(|task| task.min(partitions)..(task + 1).min(partitions)).collect();
    }
    let all: u128 = totals.iter().map(|&bytes| u128::from(bytes)).sum();
    let (mut next, mut before) = (0, 0u128);
    let shares = (0..tasks).map(|task| {
        let start = next;
        let wanted = all * u128::from(task + 1) / u128::from(tasks);
        // Up to where the sum is nearest to the task's share; the last task takes what is left.
        while next < partitions {
            let with = before + u128::from(totals[next as usize]);
            if task + 1 < tasks && with > wanted && with - wanted > wanted.saturating_sub(before) {
                break;
            }
            (next, before) = (next + 1, with);
        }
        start..next
    });
    shares.collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(four)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(eight)
}

fn extent(bytes: &[u8]) -> Extent {
    Extent { offset: u64_at(bytes, 0), bytes: u64_at(bytes, 8), records: u64_at(bytes, 16) }
}

/// Reads some bytes as an index, whose checksums are right.
#[cfg(fuzzing)]
pub fn parse_bytes(bytes: &[u8], task: u32, tasks: u32) -> Result<Option<Index>> {
    parse(task, tasks, |range| {
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let found = range.and_then(|(start, end)| bytes.get(start..end));
        found.map(<[u8]>::to_vec).ok_or_else(|| Error::retry("it is shorter"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Index, encode, parse, shares};
    use crate::shuffle::object::{Extent, ShuffleObject};

    fn objects() -> Vec<ShuffleObject> {
        let extent = |n: u64| Extent { offset: n * 100, bytes: 10, records: n };
        (0..3u64)
            .map(|task| ShuffleObject {
                name: format!("map-{task}"),
                extents: (0..6).map(|p| extent(task * 6 + p)).collect(),
            })
            .collect()
    }

    fn read(bytes: &[u8], task: u32, tasks: u32) -> Option<Index> {
        parse(task, tasks, |range| Ok(bytes[range.start as usize..range.end as usize].to_vec())).unwrap()
    }

    #[test]
    fn a_reduce_task_reads_only_its_partitions() {
        let bytes = encode(&objects(), 6).unwrap();
        let index = read(&bytes, 1, 3).unwrap();
        assert_eq!(index.names, ["map-0", "map-1", "map-2"]);
        assert_eq!((index.range, index.partitions.len()), (2..4, 2));
        assert_eq!(index.partitions[1][2], objects()[2].extents[3]);
        assert_eq!(read(&bytes, 3, 3), None, "there is no task 3");
        assert_eq!(read(&bytes, 8, 9).unwrap().range, 6..6, "more tasks than partitions");
    }

    #[test]
    fn a_flipped_bit_in_what_is_read_is_found() {
        let bytes = encode(&objects(), 6).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let get = |range: std::ops::Range<u64>| {
                let range = range.start as usize..range.end as usize;
                flipped.get(range).map(<[u8]>::to_vec).ok_or_else(|| crate::error::Error::retry("short"))
            };
            assert!(!matches!(parse(0, 1, get), Ok(Some(_))), "byte {at}");
        }
    }

    #[test]
    fn a_large_partition_has_a_task_to_itself_and_small_ones_share_one() {
        assert_eq!(shares(&[10, 10, 10, 1000, 10, 10, 10, 10], 3), [0..3, 3..4, 4..8]);
        assert_eq!(shares(&[5; 8], 2), [0..4, 4..8]);
        assert_eq!(shares(&[1, 1000, 1], 3), [0..1, 1..2, 2..3], "a task each, if that is so many");
    }

    proptest! {
        #[test]
        fn every_partition_has_one_task(totals in proptest::collection::vec(0u64..1000, 0..60), tasks in 1u32..20) {
            let shares = shares(&totals, tasks);
            prop_assert_eq!(shares.len() as u32, tasks);
            let all: Vec<u32> = shares.clone().into_iter().flatten().collect();
            prop_assert_eq!(all, (0..totals.len() as u32).collect::<Vec<_>>());
            let (sum, most) = (totals.iter().sum::<u64>(), totals.iter().max().copied().unwrap_or(0));
            for share in shares {
                let bytes: u64 = share.map(|partition| totals[partition as usize]).sum();
                prop_assert!(bytes <= sum / u64::from(tasks) + most + 1, "{} of {}", bytes, sum);
            }
        }
    }
}
