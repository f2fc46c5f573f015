//! Compressed content: an error or bytes, and the same bytes however they are asked for.
#![no_main]

use std::io::{Cursor, Read as _};

use libfuzzer_sys::fuzz_target;
use mapreduce_worker::record::split::Codec;

/// What is read at most: bombs are cut off.
const MOST: u64 = 4 << 20;

fn decode(codec: Codec, bytes: &[u8], step: usize) -> Option<Vec<u8>> {
    let content = codec.decode(Box::new(Cursor::new(bytes.to_vec())), "file:///x");
    let (mut content, mut all, mut piece) = (content.take(MOST), Vec::new(), vec![0; step]);
    loop {
        match content.read(&mut piece).ok()? {
            0 => return Some(all),
            got => all.extend_from_slice(&piece[..got]),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    let codecs = [Codec::Gzip, Codec::Bzip2, Codec::Zstd, Codec::Lz4, Codec::None];
    let codec = codecs[usize::from(*kind) % codecs.len()];
    assert_eq!(decode(codec, bytes, 64 << 10), decode(codec, bytes, 777));
});
