//! Compressed output. Each format carries a checksum of the content.

use std::io::{Result, Write};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{FrameEncoder, FrameInfo};
use mapreduce_api::v1alpha1::OutputCompression;

/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// Writes compressed what is written to it.
pub(super) enum Encoder<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Bzip2(BzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    Lz4(Box<FrameEncoder<W>>),
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(compression: OutputCompression, out: W) -> Result<Self> {
        Ok(match compression {
            OutputCompression::None => Self::None(out),
            OutputCompression::Gzip => Self::Gzip(GzEncoder::new(out, flate2::Compression::new(6))),
            OutputCompression::Bzip2 => Self::Bzip2(BzEncoder::new(out, bzip2::Compression::best())),
            OutputCompression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
            OutputCompression::Lz4 => {
                let info = FrameInfo::new().content_checksum(true);
                Self::Lz4(Box::new(FrameEncoder::with_frame_info(info, out)))
            }
        })
    }

    fn get(&mut self) -> &mut dyn Write {
        match self {
            Self::None(out) => out,
            Self::Gzip(out) => out,
            Self::Bzip2(out) => out,
            Self::Zstd(out) => out,
            Self::Lz4(out) => out,
        }
    }

    pub(super) fn finish(self) -> Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(out) => out.finish(),
            Self::Bzip2(out) => out.finish(),
            Self::Zstd(out) => out.finish(),
            Self::Lz4(out) => out.finish().map_err(std::io::Error::from),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.get().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.get().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _, Write as _};

    use mapreduce_api::v1alpha1::{Compression, OutputCompression};

    use super::Encoder;
    use crate::record::split::Codec;

    #[test]
    fn what_is_written_is_what_the_input_reads() {
        let text: Vec<u8> = (0..300_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        for (compression, codec) in [
            (OutputCompression::None, Codec::None),
            (OutputCompression::Gzip, Codec::Gzip),
            (OutputCompression::Bzip2, Codec::Bzip2),
            (OutputCompression::Zstd, Codec::Zstd),
            (OutputCompression::Lz4, Codec::Lz4),
        ] {
            for text in [&b""[..], &text] {
                let mut encoder = Encoder::new(compression, Vec::new()).unwrap();
                text.chunks(100_000).for_each(|chunk| encoder.write_all(chunk).unwrap());
                let bytes = encoder.finish().unwrap();
                if compression != OutputCompression::None {
                    assert_eq!(Codec::of(Compression::Auto, &bytes, "part").unwrap(), codec);
                }
                let mut read = Vec::new();
                let mut content = codec.decode(Box::new(Cursor::new(bytes)), "file:///part");
                content.read_to_end(&mut read).unwrap();
                assert!(read == text, "{codec:?}");
            }
        }
    }
}
