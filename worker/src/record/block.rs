//! Blocks: the unit of checksum and compression of all intermediate data.
//!
//! ```text
//!  run    = block*                       of one partition, records in sort order
//!  block  = header payload
//!  header = stored u32 │ raw u32 │ records u32 │ codec u8 │ 0 u8 ×3 │ checksum u64     24 bytes, little endian
//!  payload = `stored` bytes; decoded by `codec` (0 none, 1 LZ4 block, 2 zstd) they are `raw` bytes of
//!  record = varint key length │ varint value length │ key │ value
//! ```
//!
//! `checksum` is the XXH3 of the header before it and the payload, so that a flipped bit anywhere is
//! an error and never a wrong result. A decoder allocates `raw` bytes, at most 1 GiB.

use mapreduce_api::v1alpha1::ShuffleCompression;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Bytes of a header.
pub const HEADER: usize = 24;
/// A block is closed when its records reach this many bytes.
pub const BLOCK_BYTES: usize = 256 << 10;
/// A block of one record may be larger than [`BLOCK_BYTES`], but not than this.
const MAX_RAW: u32 = 1 << 30;

/// How a block's payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockCodec {
    /// Not at all.
    None = 0,
    /// LZ4: little time, some gain.
    Lz4 = 1,
    /// zstd at level 1.
    Zstd = 2,
}

impl BlockCodec {
    /// What the manifest asks for; `Auto` is zstd for a bucket and nothing for files, which cost no more than the
    /// processor's time that they would save.
    pub fn of(compression: ShuffleCompression, bucket: bool) -> Self {
        match compression {
            ShuffleCompression::Lz4 => Self::Lz4,
            ShuffleCompression::Zstd => Self::Zstd,
            ShuffleCompression::Auto if bucket => Self::Zstd,
            ShuffleCompression::None | ShuffleCompression::Auto => Self::None,
        }
    }
}

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of the payload, as stored.
    pub stored: u32,
    /// Bytes of the payload, decoded.
    pub raw: u32,
    /// Records in it.
    pub records: u32,
    codec: u8,
    checksum: u64,
}

impl BlockHeader {
    /// Reads a header.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut checksum = [0; 8];
        checksum.copy_from_slice(&bytes[16..]);
        let header = Self {
            stored: u32_at(0),
            raw: u32_at(4),
            records: u32_at(8),
            codec: bytes[12],
            checksum: u64::from_le_bytes(checksum),
        };
        if header.raw > MAX_RAW || header.stored > MAX_RAW || bytes[13..16] != [0; 3] {
            return Err(damaged("a block's header is wrong"));
        }
        Ok(header)
    }

    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.stored.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.raw.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.records.to_le_bytes());
        bytes[12] = self.codec;
        bytes[16..].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    fn begin_sum(self) -> Xxh3 {
        let mut hash = Xxh3::new();
        hash.update(&self.to_bytes()[..16]);
        hash
    }

    fn sum(self, payload: &[u8]) -> u64 {
        let mut hash = self.begin_sum();
        hash.update(payload);
        hash.digest()
    }

    /// Whether the payload is one large pair as it is, of which the key can be read alone.
    pub fn is_large_pair(self) -> bool {
        self.records == 1 && self.codec == BlockCodec::None as u8 && self.stored as usize > BLOCK_BYTES
    }

    /// Checks a payload, and decodes it into `raw` unless it is stored as it is.
    pub fn decode<'a>(self, payload: &'a [u8], raw: &'a mut Vec<u8>) -> Result<&'a [u8]> {
        if !cfg!(fuzzing) && self.sum(payload) != self.checksum {
            return Err(damaged("a block's checksum is wrong"));
        }
        if self.codec == BlockCodec::None as u8 {
            return if self.raw == self.stored {
                Ok(payload)
            } else {
                Err(damaged("a block's size is wrong"))
            };
        }
        raw.resize(self.raw as usize, 0);
        let got = match self.codec {
            1 => lz4_flex::block::decompress_into(payload, raw).ok(),
            2 => zstd::bulk::decompress_to_buffer(payload, raw).ok(),
            _ => None,
        };
        if got == Some(raw.len()) { Ok(raw) } else { Err(damaged("a block can't be decompressed")) }
    }
}

/// The block of a large pair up to its key: header, lengths. Key and value follow as they are, from where they are.
pub fn large_block_start(key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    large_block_start_by_pieces(key, value.len() as u64, |take| take(value))
}

/// The same of a value of so many bytes, all of which `each_piece` gives to what it is called with.
pub fn large_block_start_by_pieces(
    key: &[u8],
    value: u64,
    each_piece: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
) -> Result<Vec<u8>> {
    let length = usize::try_from(value).ok().filter(|&length| length <= MAX_RAW as usize);
    let length = length.ok_or_else(too_large)?;
    let mut start = vec![0; HEADER];
    put_varint(&mut start, key.len());
    put_varint(&mut start, length);
    let bytes = start.len() - HEADER + key.len() + length;
    let Some(bytes) = u32::try_from(bytes).ok().filter(|&bytes| bytes <= MAX_RAW) else {
        return Err(too_large());
    };
    let mut header = BlockHeader { stored: bytes, raw: bytes, records: 1, codec: 0, checksum: 0 };
    let mut hash = header.begin_sum();
    hash.update(&start[HEADER..]);
    hash.update(key);
    each_piece(&mut |piece| {
        hash.update(piece);
        Ok(())
    })?;
    header.checksum = hash.digest();
    start[..HEADER].copy_from_slice(&header.to_bytes());
    Ok(start)
}

fn too_large() -> Error {
    Error::permanent("a pair is larger than 1 GiB")
}

fn damaged(what: &str) -> Error {
    // What was read may have been damaged on its way: another attempt reads it again.
    Error::retry("intermediate data is damaged").because(what)
}

/// Collects records into blocks.
#[derive(Debug)]
pub struct BlockWriter {
    raw: Vec<u8>,
    records: u32,
    codec: BlockCodec,
    stored: Vec<u8>,
}

impl BlockWriter {
    /// A writer of blocks with this codec.
    pub fn new(codec: BlockCodec) -> Self {
        Self { raw: Vec::with_capacity(BLOCK_BYTES + (4 << 10)), records: 0, codec, stored: Vec::new() }
    }

    /// From the current block on, this codec.
    pub fn compress_by(&mut self, codec: BlockCodec) {
        self.codec = codec;
    }

    /// Adds a record. Says whether the block is full: it wants to be [ended](Self::end) then.
    #[inline]
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> bool {
        put_varint(&mut self.raw, key.len());
        put_varint(&mut self.raw, value.len());
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value);
        self.records += 1;
        self.raw.len() >= BLOCK_BYTES
    }

    /// Appends the block to `out` and begins another. Without records there is no block.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.records == 0 {
            return Ok(());
        }
        let raw_bytes = u32::try_from(self.raw.len()).ok().filter(|&raw| raw <= MAX_RAW);
        let Some(raw_bytes) = raw_bytes else {
            return Err(too_large());
        };
        match self.codec {
            BlockCodec::None => self.stored.clear(),
            BlockCodec::Lz4 => {
                self.stored.resize(lz4_flex::block::get_maximum_output_size(self.raw.len()), 0);
                let n = lz4_flex::block::compress_into(&self.raw, &mut self.stored)
                    .map_err(|e| Error::retry("can't compress a block").because(e))?;
                self.stored.truncate(n);
            }
            BlockCodec::Zstd => {
                self.stored.resize(zstd::zstd_safe::compress_bound(self.raw.len()), 0);
                let n = zstd::bulk::compress_to_buffer(&self.raw, &mut self.stored, 1)?;
                self.stored.truncate(n);
            }
        }
        // Data that hardly compresses is stored as it is: reading it back costs nothing then.
        let compressed = self.codec != BlockCodec::None && self.stored.len() < self.raw.len() / 10 * 9;
        let (codec, payload) = if compressed { (self.codec as u8, &self.stored) } else { (0, &self.raw) };
        let mut header = BlockHeader {
            stored: payload.len() as u32,
            raw: raw_bytes,
            records: self.records,
            codec,
            checksum: 0,
        };
        header.checksum = header.sum(payload);
        out.extend_from_slice(&header.to_bytes());
        out.extend_from_slice(payload);
        self.raw.clear();
        self.records = 0;
        Ok(())
    }
}

/// Appends a length in 7-bit groups, the lowest first.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a length at `at`; the length and where it ends.
#[inline]
pub fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let first = *bytes.get(at)?;
    at += 1;
    if first < 0x80 {
        return Some((usize::from(first), at));
    }
    let (mut n, mut shift) = (usize::from(first & 0x7f), 7);
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        n |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((n, at));
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
}

/// A record's place in a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// Where the key begins.
    pub key: usize,
    /// Where the value begins, and the key ends.
    pub value: usize,
    /// Where the value ends, and the next record begins.
    pub end: usize,
}

/// The record that begins at `at` of a decoded block.
#[inline]
pub fn record_at(block: &[u8], at: usize) -> Result<Span> {
    // Most keys and values are shorter than 128 bytes.
    if let Some(&[key_bytes, value_bytes]) = block.get(at..).and_then(|rest| rest.first_chunk::<2>())
        && (key_bytes | value_bytes) < 0x80
    {
        let key = at + 2;
        let value = key + usize::from(key_bytes);
        let end = value + usize::from(value_bytes);
        if end <= block.len() {
            return Ok(Span { key, value, end });
        }
    }
    long_record_at(block, at)
}

fn long_record_at(block: &[u8], at: usize) -> Result<Span> {
    record_of(block, at, block.len())
}

/// The record that begins at `at` of a decoded block of so many bytes, of which perhaps only the first are there.
pub fn record_of(block: &[u8], at: usize, bytes: usize) -> Result<Span> {
    let span = (|| {
        let (key_bytes, at) = varint(block, at)?;
        let (value_bytes, key) = varint(block, at)?;
        let span = Span { key, value: key + key_bytes, end: key + key_bytes + value_bytes };
        (span.end <= bytes).then_some(span)
    })();
    span.ok_or_else(|| damaged("a record goes past its block"))
}

#[cfg(test)]
mod tests {
    use super::{BlockCodec, BlockHeader, BlockWriter, HEADER, record_at};

    const CODECS: [BlockCodec; 3] = [BlockCodec::None, BlockCodec::Lz4, BlockCodec::Zstd];

    fn block(codec: BlockCodec) -> Vec<u8> {
        let mut writer = BlockWriter::new(codec);
        for i in 0..500 {
            writer.push(format!("key-{i:05}").as_bytes(), "value ".repeat(i % 40).as_bytes());
        }
        let mut bytes = Vec::new();
        writer.end(&mut bytes).unwrap();
        bytes
    }

    fn decode(bytes: &[u8]) -> crate::error::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let header = BlockHeader::parse(bytes[..HEADER].try_into().unwrap())?;
        let mut raw = Vec::new();
        let payload = bytes.get(HEADER..HEADER + header.stored as usize).unwrap_or_default();
        let block = header.decode(payload, &mut raw)?;
        let (mut at, mut records) = (0, Vec::new());
        while at < block.len() {
            let span = record_at(block, at)?;
            records.push((block[span.key..span.value].to_vec(), block[span.value..span.end].to_vec()));
            at = span.end;
        }
        Ok(records)
    }

    #[test]
    fn a_block_gives_back_its_records_with_every_codec() {
        for codec in CODECS {
            let records = decode(&block(codec)).unwrap();
            assert_eq!(records.len(), 500);
            assert_eq!(records[77], (b"key-00077".to_vec(), "value ".repeat(37).into_bytes()), "{codec:?}");
        }
        assert!(block(BlockCodec::Zstd).len() * 4 < block(BlockCodec::None).len());
    }

    #[test]
    fn any_flipped_bit_is_an_error() {
        for codec in CODECS {
            let whole = block(codec);
            for at in (0..whole.len()).step_by(whole.len() / 300 + 1).chain(0..HEADER) {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << (at % 8);
                assert!(decode(&flipped).is_err(), "{codec:?} byte {at}");
            }
        }
    }
}
