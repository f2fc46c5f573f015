//! zstd: frames one after the other, those that are skipped among them.
//!
//! A decoder has as much of the content in memory as its frame's window: 2 MiB with the usual levels, 8 MiB with the
//! highest, 128 MiB and more with `--long`. The first frame's window is waited for, and none may be larger than this
//! process has memory for.

use std::io::{self, Cursor, Read};

use zstd::stream::read::Decoder;

use super::lz4::Lz4Frames;
use super::{Stored, is_skipped, next_magic, skip_frame, too_large_a_window};
use crate::memory::{self, CodecMemory};

/// Windows of 2 GiB, the most that the library has.
const WINDOW_LOG: u32 = 31;
/// The most bytes of a frame's header after the magic bytes.
const MAX_HEADER: u64 = 14;

/// Frames of zstd; or of lz4, where that shows only after frames that are skipped, which both have.
pub(super) enum ZstdFrames {
    /// Not begun.
    Stored(Stored),
    Frames {
        frames: Box<dyn Read + Send>,
        /// Held while they are decoded.
        _window: Option<CodecMemory>,
    },
    End,
}

impl ZstdFrames {
    pub(super) fn new(input: Stored) -> Self {
        Self::Stored(input)
    }

    fn begin(mut input: Stored) -> io::Result<Self> {
        loop {
            let magic = next_magic(&mut input)?;
            if is_skipped(&magic) {
                skip_frame(&mut input)?;
                continue;
            }
            if magic.is_empty() {
                return Ok(Self::End);
            }
            if super::Codec::Lz4.can_begin(&magic) {
                let rest = Cursor::new(magic).chain(input);
                let frames = Box::new(Lz4Frames::new(Stored::new(Box::new(rest))));
                return Ok(Self::Frames { frames, _window: None });
            }
            let mut start = magic;
            let magic_bytes = start.len();
            input.by_ref().take(MAX_HEADER).read_to_end(&mut start)?;
            let window = window_bytes(&start[magic_bytes..]).unwrap_or_default();
            let most = memory::most_for_codecs();
            if window > most {
                return Err(too_large_a_window(window));
            }
            let window = memory::codec(window);
            let mut decoder = Decoder::with_buffer(Cursor::new(start).chain(input))?;
            decoder.window_log_max(most.next_power_of_two().ilog2().min(WINDOW_LOG))?;
            return Ok(Self::Frames { frames: Box::new(decoder), _window: Some(window) });
        }
    }
}

impl Read for ZstdFrames {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Frames { frames, .. } => return frames.read(buf),
                Self::End => return Ok(0),
                Self::Stored(_) => {}
            }
            if let Self::Stored(input) = std::mem::replace(self, Self::End) {
                *self = Self::begin(input)?;
            }
        }
    }
}

/// The window that a frame's header asks for; none where it is cut short.
fn window_bytes(header: &[u8]) -> Option<u64> {
    let (&descriptor, rest) = header.split_first()?;
    if descriptor & 0x20 == 0 {
        let &window = rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // One segment: as much as the content, whose size follows the dictionary's number.
    let size = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let (bytes, more) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let mut number = [0; 8];
    number[..bytes].copy_from_slice(size.get(..bytes)?);
    Some(u64::from_le_bytes(number).saturating_add(more))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zstd::stream::write::Encoder;

    use super::window_bytes;

    #[test]
    fn the_window_of_a_frame_is_what_its_encoder_was_told() {
        for log in [17, 20, 27] {
            let mut encoder = Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            encoder.write_all(b"content whose size is not known when the frame begins").unwrap();
            assert_eq!(window_bytes(&encoder.finish().unwrap()[4..]), Some(1 << log));
        }
    }

    #[test]
    fn a_frame_of_one_segment_takes_as_much_as_its_content() {
        for size in [0, 1, 255, 256, 300, 65_791, 65_792, 200_000] {
            let frame = zstd::bulk::compress(&vec![7; size], 3).unwrap();
            assert_eq!(window_bytes(&frame[4..]), Some(size as u64));
            assert_eq!(window_bytes(&frame[4..5]), None, "it is cut short");
        }
    }
}
