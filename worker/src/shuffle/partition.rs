//! Which partition a key goes to.

use xxhash_rust::xxh3::xxh3_64;

/// The hash that the plan names: a key goes to partition `xxh3_64(key) · partitions / 2^64`.
/// It is fixed: pods of one job may run different versions of this program.
pub const HASH: &str = "xxh3-64/1";

/// Maps keys to partitions.
#[derive(Clone, Copy, Debug)]
pub struct Partitioner {
    partitions: u32,
}

impl Partitioner {
    /// By hash, into this many partitions.
    pub fn hash(partitions: u32) -> Self {
        Self { partitions: partitions.max(1) }
    }

    /// Number of partitions.
    pub fn partitions(self) -> u32 {
        self.partitions
    }

    /// The key's partition.
    #[inline]
    pub fn of(self, key: &[u8]) -> u32 {
        if self.partitions == 1 {
            return 0;
        }
        ((u128::from(xxh3_64(key)) * u128::from(self.partitions)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Partitioner;

    #[test]
    fn the_hash_never_changes() {
        let by = Partitioner::hash(1000);
        assert_eq!(["", "a", "the", "mapreduce"].map(|key| by.of(key.as_bytes())), [175, 901, 793, 788]);
    }

    #[test]
    fn keys_spread_evenly() {
        let by = Partitioner::hash(7);
        let mut counts = [0; 7];
        (0..70_000u32).for_each(|i| counts[by.of(&i.to_le_bytes()) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
