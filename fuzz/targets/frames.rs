//! Where frames end, as we and as libzstd say; and that what is cut there is decoded by itself.
#![no_main]

use std::io::{Cursor, Read as _};

use libfuzzer_sys::fuzz_target;
use mapreduce_worker::fuzzing::frame_length;
use mapreduce_worker::input::frames::FrameFormat;
use mapreduce_worker::record::split::Codec;

/// Content that is longer is not decoded to its end, and so proves nothing.
const MOST: u64 = 4 << 20;

fn decode(codec: Codec, bytes: &[u8]) -> Option<Vec<u8>> {
    let content = codec.decode(Box::new(Cursor::new(bytes.to_vec())), "file:///x");
    let mut all = Vec::new();
    content.take(MOST + 1).read_to_end(&mut all).ok()?;
    (all.len() as u64 <= MOST).then_some(all)
}

fuzz_target!(|data: &[u8]| {
    let [kind, bytes @ ..] = data else { return };
    let (frames, codec) =
        if kind % 2 == 0 { (FrameFormat::Zstd, Codec::Zstd) } else { (FrameFormat::Bgzf, Codec::Gzip) };
    let _ = frames.find(bytes);
    let length = frame_length(frames, bytes);
    if frames == FrameFormat::Zstd
        && let Ok(theirs) = zstd::zstd_safe::find_frame_compressed_size(bytes)
        && decode(codec, &bytes[..theirs]).is_some()
    {
        assert_eq!(length, Some(theirs), "libzstd finds a frame of {theirs} bytes");
    }
    let Some(length) = length.filter(|length| *length < bytes.len()) else { return };
    let Some(whole) = decode(codec, bytes) else { return };
    // The object is sound, so that what is cut off is, too: but for a block of bgzf that is not as long as it
    // says, which is an error and no other content.
    let (first, rest) = (decode(codec, &bytes[..length]), decode(codec, &bytes[length..]));
    let (Some(first), Some(rest)) = (first, rest) else {
        assert_eq!(frames, FrameFormat::Bgzf, "a part can't be decoded by itself");
        return;
    };
    assert!(whole.starts_with(&first));
    assert_eq!(whole[first.len()..], rest);
});
