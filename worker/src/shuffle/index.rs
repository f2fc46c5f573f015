//! The shuffle index: where each partition is in each map task's shuffle object, by partition, so
//! that a reduce task reads its own part of it and not every task's commit record.
//!
//! ```text
//!  index   = head names section*                       little endian
//!  head    = "MRINDEX1" │ tasks u32 │ partitions u32 │ bytes of names u64 │ XXH3 of all before u64
//!  names   = JSON list of the tasks' shuffle objects │ XXH3 u64
//!  section = per task: offset u64 │ bytes u64 │ records u64, then XXH3 u64      one per partition
//! ```
//!
//! The last map task to commit writes it. The commit records don't change any more by then, so
//! that two tasks that both take themselves for the last write the same bytes.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use super::object::{Extent, ShuffleObject};
use crate::error::{Error, Result};
use crate::storage::Location;

const MAGIC: &[u8; 8] = b"MRINDEX1";
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
    (xxh3_64(content) == u64::from_le_bytes(*sum)).then_some(content)
}

/// The part of an index that a reduce task needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Index {
    /// The shuffle objects' names, by map task.
    pub names: Vec<String>,
    /// Per partition of the range, where it is in each of the objects.
    pub partitions: Vec<Vec<Extent>>,
}

/// Reads the part of the index in a work folder that is about some partitions.
pub fn read(work: &Location, partitions: Range<u32>) -> Result<Index> {
    let place = work.join(NAME);
    let get = |range: Range<u64>| place.store.read(&place.key, range);
    parse(partitions, get)
        .and_then(|index| index.ok_or_else(|| Error::retry("its checksum is wrong")))
        .map_err(|error| error.context(format!("can't read the shuffle index {}", place.url(&place.key))))
}

fn parse(partitions: Range<u32>, get: impl Fn(Range<u64>) -> Result<Vec<u8>>) -> Result<Option<Index>> {
    let head = get(0..HEAD as u64)?;
    let Some(head) = unseal(&head).filter(|head| head.starts_with(MAGIC)) else { return Ok(None) };
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&head[at..at + len]);
        u64::from_le_bytes(bytes)
    };
    let (tasks, known, names_bytes) = (number(8, 4) as usize, number(12, 4), number(16, 8));
    if u64::from(partitions.end) > known {
        return Ok(None);
    }
    let names_end = HEAD as u64 + names_bytes + 8;
    let names = get(HEAD as u64..names_end)?;
    let Some(names) = unseal(&names).and_then(|names| serde_json::from_slice::<Vec<String>>(names).ok())
    else {
        return Ok(None);
    };
    let section = tasks * EXTENT + 8;
    let from = names_end + u64::from(partitions.start) * section as u64;
    let sections = get(from..from + partitions.len() as u64 * section as u64)?;
    let mut found = Vec::with_capacity(partitions.len());
    for section in sections.chunks(section) {
        let Some(extents) = unseal(section) else { return Ok(None) };
        found.push(extents.chunks_exact(EXTENT).map(extent).collect());
    }
    Ok((names.len() == tasks && found.len() == partitions.len())
        .then_some(Index { names, partitions: found }))
}

fn extent(bytes: &[u8]) -> Extent {
    let number = |at: usize| {
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(eight)
    };
    Extent { offset: number(0), bytes: number(8), records: number(16) }
}

#[cfg(test)]
mod tests {
    use super::{Index, encode, parse};
    use crate::shuffle::object::{Extent, ShuffleObject};

    fn objects() -> Vec<ShuffleObject> {
        let extent = |n: u64| Extent { offset: n * 100, bytes: n * 10, records: n };
        (0..3u64)
            .map(|task| ShuffleObject {
                name: format!("map-{task}"),
                extents: (0..5).map(|p| extent(task * 5 + p)).collect(),
            })
            .collect()
    }

    fn read(bytes: &[u8], partitions: std::ops::Range<u32>) -> Option<Index> {
        parse(partitions, |range| Ok(bytes[range.start as usize..range.end as usize].to_vec())).unwrap()
    }

    #[test]
    fn a_reduce_task_reads_only_its_partitions() {
        let bytes = encode(&objects(), 5).unwrap();
        let index = read(&bytes, 1..3).unwrap();
        assert_eq!(index.names, ["map-0", "map-1", "map-2"]);
        assert_eq!(index.partitions.len(), 2);
        assert_eq!(index.partitions[1][2], objects()[2].extents[2]);
        assert_eq!(read(&bytes, 4..6), None, "there is no partition 5");
    }

    #[test]
    fn a_flipped_bit_in_what_is_read_is_found() {
        let bytes = encode(&objects(), 5).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            let get = |range: std::ops::Range<u64>| {
                let range = range.start as usize..range.end as usize;
                flipped.get(range).map(<[u8]>::to_vec).ok_or_else(|| crate::error::Error::retry("short"))
            };
            assert!(!matches!(parse(0..5, get), Ok(Some(_))), "byte {at}");
        }
    }
}
