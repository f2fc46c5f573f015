//! Compressed input: which codec an object has, and its content as a stream.
//!
//! Decoders stream, so an object that expands without end costs no memory: a record's size is
//! capped where records are cut. A truncated or damaged object is an error, never a shorter result.

use std::io::{self, BufReader, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;
use mapreduce_api::v1alpha1::Compression;

use crate::error::{Error, Result};
use crate::record::split::Codec;

/// Bytes that tell a codec from others.
pub const MAGIC_BYTES: u64 = 4;

impl Codec {
    /// The codec of an object, by the manifest, then by its first bytes, then by its name.
    pub fn of(compression: Compression, head: &[u8], name: &str) -> Self {
        match compression {
            Compression::None => Self::None,
            _ if head.is_empty() => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Bzip2 => Self::Bzip2,
            Compression::Zstd => Self::Zstd,
            Compression::Lz4 => Self::Lz4,
            Compression::Auto => Self::by_magic(head).unwrap_or_else(|| Self::by_extension(name)),
        }
    }

    fn by_magic(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            // With the second, a frame that is skipped, pzstd begins.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            _ => None,
        }
    }

    fn by_extension(name: &str) -> Self {
        let ends = |extensions: &[&str]| extensions.iter().any(|extension| name.ends_with(extension));
        if ends(&[".gz", ".gzip"]) {
            Self::Gzip
        } else if ends(&[".bz2"]) {
            Self::Bzip2
        } else if ends(&[".zst", ".zstd"]) {
            Self::Zstd
        } else if ends(&[".lz4"]) {
            Self::Lz4
        } else {
            Self::None
        }
    }

    /// The content of compressed bytes.
    pub fn decode(self, bytes: Box<dyn Read + Send>, url: &str) -> Result<Box<dyn Read + Send>> {
        self.decode_part(bytes, url, None)
    }

    /// The content of a part of an object, which begins and ends with frames.
    pub(super) fn decode_part(
        self,
        bytes: Box<dyn Read + Send>,
        url: &str,
        part: Option<Range<u64>>,
    ) -> Result<Box<dyn Read + Send>> {
        if self == Self::None {
            return Ok(bytes);
        }
        let input = BufReader::with_capacity(128 << 10, bytes);
        let decoder: Box<dyn Read + Send> = match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
            Self::Lz4 => Box::new(Lz4Frames::new(input)),
        };
        Ok(Box::new(Named { decoder, codec: self, url: url.to_owned(), part }))
    }
}

/// Says which object a decoder's error is about.
struct Named {
    decoder: Box<dyn Read + Send>,
    codec: Codec,
    url: String,
    part: Option<Range<u64>>,
}

impl Read for Named {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buf).map_err(|error| {
            // What the store below has said is not the decoder's.
            if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>) {
                return error;
            }
            let codec = format!("{:?}", self.codec).to_lowercase();
            let error =
                Error::permanent(format!("{} is truncated or damaged {codec} data", self.url)).because(error);
            match &self.part {
                Some(Range { start, end }) => error.because(format_args!(
                    "bytes {start} to {end} were read: should other programs read it, an input.splitSize of \
                     its size leaves it whole"
                )),
                None => error,
            }
            .into()
        })
    }
}

/// LZ4 frames one after the other.
///
/// The decoder takes the end of its input for the end of a frame, so that a truncated object
/// would read as a shorter one: this looks whether bytes were read since the last frame's end.
struct Lz4Frames<R: Read> {
    /// A frame has a decoder of its own: one that goes on with another size of blocks gets that wrong.
    frame: Option<lz4_flex::frame::FrameDecoder<Counted<R>>>,
    frame_end: u64,
}

impl<R: Read> Lz4Frames<R> {
    fn new(bytes: R) -> Self {
        let bytes = Counted { inner: bytes, bytes: 0, at_end: false };
        Self { frame: Some(lz4_flex::frame::FrameDecoder::new(bytes)), frame_end: 0 }
    }
}

impl<R: Read> Read for Lz4Frames<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else { return Ok(0) };
            let got = frame.read(buf)?;
            let Counted { bytes, at_end, .. } = *frame.get_ref();
            if got > 0 || buf.is_empty() {
                return Ok(got);
            }
            if at_end {
                let whole = bytes == self.frame_end;
                return if whole { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            self.frame_end = bytes;
            let rest = self.frame.take().map(lz4_flex::frame::FrameDecoder::into_inner);
            self.frame = rest.map(lz4_flex::frame::FrameDecoder::new);
        }
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
    at_end: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buf)?;
        self.bytes += got as u64;
        self.at_end |= got == 0 && !buf.is_empty();
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use mapreduce_api::v1alpha1::Compression;

    use super::Codec;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(text: &[u8]) -> Vec<u8> {
        let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(text: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// As the program `zstd` writes it.
    fn checked_zstd(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    type Encode = Box<dyn Fn(&[u8]) -> Vec<u8>>;

    fn codecs() -> [(Codec, Encode); 4] {
        [
            (Codec::Gzip, Box::new(gzip)),
            (Codec::Bzip2, Box::new(bzip2)),
            (Codec::Zstd, Box::new(|text| zstd::encode_all(text, 1).unwrap())),
            (Codec::Lz4, Box::new(lz4)),
        ]
    }

    fn decode(codec: Codec, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut reader = codec.decode(Box::new(std::io::Cursor::new(bytes)), "file:///x").unwrap();
        reader.read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn members_one_after_the_other_are_one_content() {
        for (codec, encode) in codecs() {
            let bytes = [encode(b"one\n"), encode(b"two\n")].concat();
            assert_eq!(decode(codec, bytes).unwrap(), b"one\ntwo\n", "{codec:?}");
            // Where the sizes of a frame's blocks are not the next one's.
            let (long, short) = ("a line of text\n".repeat(20_000), "b\n".repeat(2000));
            let bytes = [encode(long.as_bytes()), encode(short.as_bytes()), encode(b"")].concat();
            assert!(decode(codec, bytes).unwrap() == (long + &short).into_bytes(), "{codec:?}");
        }
    }

    #[test]
    fn a_truncated_or_damaged_object_is_an_error_that_names_it() {
        let text: Vec<u8> =
            (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (codec, encode) in codecs() {
            let whole = encode(&text);
            let error = decode(codec, whole[..whole.len() - 9].to_vec()).unwrap_err().to_string();
            assert!(error.contains("file:///x"), "{codec:?}: {error}");
            let mut flipped = whole.clone();
            flipped[whole.len() / 2] ^= 0x10;
            let result = decode(codec, flipped);
            // A zstd frame has a checksum only when its writer wanted one.
            assert!(codec == Codec::Zstd || result.is_err(), "{codec:?}");
        }
    }

    #[test]
    fn any_flipped_bit_and_any_end_cut_off_is_an_error_that_names_the_object_or_changes_nothing() {
        let text: Vec<u8> = (0..600u32).flat_map(|i| (i * i % 97).to_string().into_bytes()).collect();
        for (codec, encode) in codecs() {
            let whole = if codec == Codec::Zstd { checked_zstd(&text) } else { encode(&text) };
            let check = |bytes: Vec<u8>, what: String| match decode(codec, bytes) {
                // Times and names in a header, say.
                Ok(content) => assert!(content == text, "{codec:?}: {what} is another content"),
                Err(error) => assert!(error.to_string().contains("file:///x"), "{codec:?}: {error}"),
            };
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut flipped = whole.clone();
                    flipped[at] ^= 1 << bit;
                    check(flipped, format!("bit {bit} of byte {at}"));
                }
            }
            (1..whole.len())
                .for_each(|end| check(whole[..end].to_vec(), format!("what is before byte {end}")));
        }
    }

    #[test]
    fn auto_goes_by_the_first_bytes_then_by_the_name() {
        assert_eq!(Codec::of(Compression::Auto, &[0x1f, 0x8b, 8, 0], "x.txt"), Codec::Gzip);
        assert_eq!(Codec::of(Compression::Auto, &[0x50, 0x2a, 0x4d, 0x18], "x"), Codec::Zstd);
        assert_eq!(Codec::of(Compression::Auto, b"text", "x.gz"), Codec::Gzip);
        assert_eq!(Codec::of(Compression::Auto, b"text", "x.txt"), Codec::None);
        assert_eq!(Codec::of(Compression::Auto, b"", "x.gz"), Codec::None);
        assert_eq!(Codec::of(Compression::None, &[0x1f, 0x8b, 8, 0], "x.gz"), Codec::None);
    }
}
