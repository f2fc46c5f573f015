//! Which partition a key goes to.

use std::sync::Arc;

use mapreduce_api::v1alpha1::KeyFieldsPartitioner;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::radix::prefix;
use crate::error::{Error, Result};

/// The hash that the plan names: a key goes to partition `xxh3_64(key) · partitions / 2^64`.
/// It is fixed: pods of one job may run different versions of this program.
pub const HASH: &str = "xxh3-64/1";

/// Maps keys to partitions.
#[derive(Clone, Debug)]
pub struct KeyPartitioner {
    partitions: u32,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Hash,
    /// Where each partition but the first begins, as stored keys, with their first 8 bytes.
    Range(Arc<[(u64, Vec<u8>)]>),
    Fields {
        separator: Arc<[u8]>,
        ranges: Arc<[(usize, usize)]>,
    },
}

impl KeyPartitioner {
    /// By hash, into this many partitions.
    pub fn hash(partitions: u32) -> Self {
        Self { partitions: partitions.max(1), by: By::Hash }
    }

    /// By where stored keys are among `cuts`, which ascend.
    pub fn range(partitions: u32, cuts: Vec<Vec<u8>>) -> Self {
        let cuts = cuts.into_iter().map(|cut| (prefix(&cut), cut)).collect();
        Self { partitions: partitions.max(1), by: By::Range(cuts) }
    }

    /// By a hash of some fields of the key.
    pub fn fields(partitions: u32, options: &KeyFieldsPartitioner) -> Result<Self> {
        let separator = options.separator.as_deref().unwrap_or("\t").as_bytes().into();
        let ranges = parse_fields(options.fields.as_deref().unwrap_or_default())?.into();
        Ok(Self { partitions: partitions.max(1), by: By::Fields { separator, ranges } })
    }

    /// Number of partitions.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The partition of a key whose stored form is `stored`.
    #[inline]
    pub fn of(&self, key: &[u8], stored: &[u8]) -> u32 {
        if self.partitions == 1 {
            return 0;
        }
        match &self.by {
            By::Hash => self.scale(xxh3_64(key)),
            By::Range(cuts) => {
                let first = prefix(stored);
                let before = |(start, cut): &(u64, Vec<u8>)| {
                    *start < first || (*start == first && cut.as_slice() <= stored)
                };
                cuts.partition_point(before) as u32
            }
            By::Fields { separator, ranges } => {
                let mut hash = Xxh3::new();
                for &(first, last) in ranges.iter() {
                    hash.update(fields(key, separator, first, last));
                    hash.update(separator);
                }
                self.scale(hash.digest())
            }
        }
    }

    fn scale(&self, hash: u64) -> u32 {
        ((u128::from(hash) * u128::from(self.partitions)) >> 64) as u32
    }
}

/// Fields `first` to `last` of a key, with what is between them.
fn fields<'a>(key: &'a [u8], separator: &[u8], first: usize, last: usize) -> &'a [u8] {
    let (mut from, mut number) = (0, 1);
    let mut start = if first == 1 { Some(0) } else { None };
    while let Some(at) = memchr::memmem::find(&key[from..], separator) {
        if number == last {
            return &key[start.unwrap_or(key.len())..from + at];
        }
        from += at + separator.len();
        number += 1;
        if number == first {
            start = Some(from);
        }
    }
    &key[start.unwrap_or(key.len())..]
}

/// `1,3-4`: field 1, and fields 3 to 4.
fn parse_fields(text: &str) -> Result<Vec<(usize, usize)>> {
    let one = |part: &str| {
        let part = part.trim();
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) =
            (first.parse().ok()?, if last.is_empty() { usize::MAX } else { last.parse().ok()? });
        (first > 0 && first <= last).then_some((first, last))
    };
    text.split(',').map(one).collect::<Option<Vec<_>>>().ok_or_else(|| {
        Error::usage(format!(
            "spec.reduce.partitioner.keyFields.fields: `{text}` is not a list of fields: write as in 1,2 or 1,3-4"
        ))
    })
}

/// Where to cut a sample of stored keys into partitions of about equal weight. A key that is more
/// than a partition's share has one to itself, and the rest is shared by the others.
pub fn range_bounds(mut sample: Vec<Vec<u8>>, partitions: u32) -> Vec<Vec<u8>> {
    sample.sort_unstable();
    let mut groups: Vec<(Vec<u8>, usize)> = Vec::new();
    for key in sample {
        match groups.last_mut() {
            Some((last, count)) if *last == key => *count += 1,
            _ => groups.push((key, 1)),
        }
    }
    let mut left: usize = groups.iter().map(|(_, count)| count).sum();
    let mut free = partitions as usize;
    let (mut cuts, mut filled) = (Vec::new(), 0);
    for (key, count) in groups {
        // Cut before this key when that leaves the partition nearer to its share than with it.
        let share = left.div_ceil(free.max(1));
        if free > 1 && filled > 0 && filled + count / 2 >= share {
            cuts.push(key);
            left -= filled;
            free -= 1;
            filled = 0;
        }
        filled += count;
    }
    cuts
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::KeyFieldsPartitioner;

    use super::{KeyPartitioner, parse_fields, range_bounds};

    #[test]
    fn the_hash_never_changes() {
        let by = KeyPartitioner::hash(1000);
        assert_eq!(["", "a", "the", "mapreduce"].map(|key| by.of(key.as_bytes(), b"")), [175, 901, 793, 788]);
    }

    #[test]
    fn keys_spread_evenly() {
        let by = KeyPartitioner::hash(7);
        let mut counts = [0; 7];
        (0..70_000u32).for_each(|i| counts[by.of(&i.to_le_bytes(), b"") as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn ranges_are_of_about_equal_weight_and_in_order() {
        let sample: Vec<Vec<u8>> = (0..1000u32).map(|i| i.to_be_bytes().to_vec()).collect();
        let by = KeyPartitioner::range(8, range_bounds(sample.clone(), 8));
        let mut counts = [0; 8];
        let of: Vec<u32> = sample.iter().map(|key| by.of(key, key)).collect();
        of.iter().for_each(|&partition| counts[partition as usize] += 1);
        assert!(of.is_sorted());
        assert!(counts.iter().all(|count| (115..135).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_heavy_key_has_a_partition_to_itself() {
        let mut sample: Vec<Vec<u8>> = (0..100u8).map(|i| vec![i]).collect();
        sample.extend(std::iter::repeat_n(vec![50], 900));
        let by = KeyPartitioner::range(4, range_bounds(sample.clone(), 4));
        let mut counts = [0; 4];
        sample.iter().for_each(|key| counts[by.of(key, key) as usize] += 1);
        assert_eq!(counts.iter().filter(|count| **count >= 901).count(), 1, "{counts:?}");
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    #[test]
    fn keys_with_the_same_fields_go_to_one_partition() {
        let options =
            |fields: &str| KeyFieldsPartitioner { separator: Some("-".into()), fields: Some(fields.into()) };
        let by = KeyPartitioner::fields(1000, &options("2,3")).unwrap();
        assert_eq!(by.of(b"a-x-y-1", b""), by.of(b"b-x-y-2-z", b""));
        assert_ne!(by.of(b"a-x-y", b""), by.of(b"a-x-z", b""));
        assert_eq!(by.of(b"a", b""), by.of(b"b", b""), "fields that there aren't are empty");
        for text in ["", "0", "2-1", "x", "1,,2"] {
            assert!(parse_fields(text).is_err(), "{text}");
        }
    }
}
