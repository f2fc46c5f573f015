//! A key with what a hash table of keys looks at.

/// Bytes of a key that are looked at first.
pub(crate) const INLINE: usize = 16;

/// A key on its way to its slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashedKey<'a> {
    /// The first 16 bytes, filled with zeros.
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) hash: u64,
    pub(crate) bytes: &'a [u8],
}

impl<'a> HashedKey<'a> {
    /// A key of these bytes.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let (a, b) = halves(bytes);
        Self::of_halves(a, b, bytes)
    }

    /// The key whose first 16 bytes, filled with zeros, are `a` and `b`.
    #[inline]
    pub fn of_halves(a: u64, b: u64, bytes: &'a [u8]) -> Self {
        let short = bytes.len() <= INLINE;
        let hash = if short { hash(a, b, bytes.len() as u32) } else { xxhash_rust::xxh3::xxh3_64(bytes) };
        Self { a, b, hash, bytes }
    }
}

/// The first 16 bytes of a key as two little-endian numbers, filled with zeros.
#[inline]
fn halves(key: &[u8]) -> (u64, u64) {
    if key.len() >= INLINE {
        let (a, b) = key[..INLINE].split_at(8);
        return (
            u64::from_le_bytes(a.try_into().unwrap_or_default()),
            u64::from_le_bytes(b.try_into().unwrap_or_default()),
        );
    }
    let mut bytes = [0; INLINE];
    bytes[..key.len()].copy_from_slice(key);
    halves(&bytes)
}

#[inline]
pub(crate) fn hash(a: u64, b: u64, len: u32) -> u64 {
    let product =
        u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ u64::from(len) ^ 0xbf58_476d_1ce4_e5b9);
    product as u64 ^ (product >> 64) as u64
}
