//! A sample of the keys that a map function emits.

use super::order::KeyOrder;
use super::sort::SortBuffer;
use super::stream::PairStream as _;
use crate::error::Result;
use crate::memory::LARGE_RECORD;
use crate::record::{Emit, MapOutput};

/// A sample is of a chunk's records: the keys that most functions emit for them fit in this. Of more, the last are
/// looked at.
const BUFFER_BYTES: usize = 16 << 20;
/// Bytes of a key that are looked at.
const MOST: usize = LARGE_RECORD / 4;
/// Bytes of a key that a sample has, however many it has.
const LEAST: usize = 1 << 10;

/// Takes pairs, and keeps the beginnings of their stored keys.
#[derive(Debug)]
pub struct KeySample {
    buffer: SortBuffer,
    order: KeyOrder,
    stored: Vec<u8>,
}

impl KeySample {
    /// A sample of keys in this order.
    pub fn new(order: &KeyOrder) -> Self {
        Self { buffer: SortBuffer::new(1, BUFFER_BYTES), order: order.clone(), stored: Vec::new() }
    }

    /// At most about `most` of the stored keys, evenly spread, and `bytes` of them: of large keys the beginnings, which
    /// are as good to cut at.
    pub fn into_keys(mut self, most: usize, bytes: usize) -> Result<Vec<Vec<u8>>> {
        let step = self.buffer.len().div_ceil(most).max(1);
        let longest = (bytes / self.buffer.len().div_ceil(step).max(1)).max(LEAST);
        let mut keys = Vec::new();
        self.buffer.drain(false, |_, mut pairs| {
            let mut number = 0;
            while pairs.advance()? {
                if number % step == 0 {
                    let key = pairs.key();
                    keys.push(key[..key.len().min(longest)].to_vec());
                }
                number += 1;
            }
            Ok(())
        })?;
        Ok(keys)
    }
}

impl Emit for KeySample {
    fn emit(&mut self, key: &[u8], _value: &[u8]) -> Result<()> {
        let stored = self.order.encoded_key(key, &mut self.stored);
        let start = &stored[..stored.len().min(MOST)];
        if !self.buffer.has_room(start, b"") {
            self.buffer.drain(false, |_, _| Ok(()))?;
        }
        self.buffer.push(0, start, b"");
        Ok(())
    }
}

impl MapOutput for KeySample {}

#[cfg(test)]
mod tests {
    use super::{KeySample, LEAST};
    use crate::record::Emit as _;
    use crate::shuffle::order::KeyOrder;

    fn sample(keys: impl Iterator<Item = Vec<u8>>, most: usize, bytes: usize) -> Vec<Vec<u8>> {
        let mut sample = KeySample::new(&KeyOrder::default());
        keys.for_each(|key| sample.emit(&key, b"a value").unwrap());
        sample.into_keys(most, bytes).unwrap()
    }

    #[test]
    fn it_is_spread_over_the_keys_in_their_order() {
        let keys = (0..1000u32).rev().map(|i| i.to_be_bytes().to_vec());
        let every_tenth: Vec<_> = (0..1000u32).step_by(10).map(|i| i.to_be_bytes().to_vec()).collect();
        assert_eq!(sample(keys, 100, 1 << 20), every_tenth);
    }

    #[test]
    fn of_large_keys_it_has_the_beginnings() {
        let large = |i: u8| [vec![i; 10_000], vec![b'k'; 8_000_000]].concat();
        let few = sample((0..4).map(large), 1000, 80_000);
        assert_eq!(few, (0..4).map(|i| large(i)[..20_000].to_vec()).collect::<Vec<_>>());
        let many = sample((0..200).map(|i| vec![i; 10_000]), 1000, 80_000);
        assert!(many.len() == 200 && many.iter().all(|key| key.len() == LEAST));
    }
}
