//! Compressed input: which codec an object has, and its content as a stream.
//!
//! Decoders stream, so an object that expands without end costs no memory: a record's size is
//! capped where records are cut. A truncated or damaged object is an error, never a shorter result.

mod foreign;
mod gzip;
mod lz4;
mod zstd;

use std::io::{self, BufReader, Read};
use std::ops::Range;

use mapreduce_api::v1alpha1::Compression;

use self::gzip::GzipMembers;
use self::lz4::Lz4Frames;
use self::zstd::ZstdFrames;
use crate::error::{Error, Result};
use crate::memory;
use crate::record::split::Codec;

/// Bytes that tell a codec from others.
pub const MAGIC_BYTES: u64 = 10;

/// What a decoder reads: it sees what comes next before it takes it.
type Stored = BufReader<Box<dyn Read + Send>>;

impl Codec {
    /// The codec of an object, by the manifest, then by its first bytes, then by its name. An error when it is one
    /// that can't be read, or not the one that the manifest names.
    pub fn of(compression: Compression, head: &[u8], url: &str) -> Result<Self> {
        if head.is_empty() {
            return Ok(Self::None);
        }
        let Some(wanted) = Self::said(compression) else {
            return match Self::by_magic(head) {
                // Both have frames that are skipped.
                Some(Self::Zstd) if head[0] != 0x28 && Self::by_extension(url) == Self::Lz4 => Ok(Self::Lz4),
                Some(codec) => Ok(codec),
                None => match foreign::of(head, url) {
                    Some(foreign) => Err(foreign.error(url)),
                    None => Ok(Self::by_extension(url)),
                },
            };
        };
        if wanted.can_begin(head) {
            return Ok(wanted);
        }
        let looks = match (Self::by_magic(head), foreign::of(head, url)) {
            (Some(codec), _) => format!(", but like {} data", codec.name()),
            (None, Some(foreign)) => format!(", but like {} data", foreign.name),
            (None, None) => String::new(),
        };
        let name = wanted.name();
        Err(Error::permanent(format!(
            "{url} is not {name} data, as input.compression says: it does not begin like it{looks}"
        ))
        .because("with input.compression: Auto each object is read as what it is"))
    }

    /// The codec that the manifest names.
    pub(super) fn said(compression: Compression) -> Option<Self> {
        match compression {
            Compression::Auto => None,
            Compression::None => Some(Self::None),
            Compression::Gzip => Some(Self::Gzip),
            Compression::Bzip2 => Some(Self::Bzip2),
            Compression::Zstd => Some(Self::Zstd),
            Compression::Lz4 => Some(Self::Lz4),
        }
    }

    fn by_magic(head: &[u8]) -> Option<Self> {
        [Self::Gzip, Self::Bzip2, Self::Zstd, Self::Lz4].into_iter().find(|codec| {
            // Two bytes don't say which codec it is, unless they are gzip's.
            (head.len() >= 4 || *codec == Self::Gzip && head.len() >= 2) && codec.can_begin(head)
        })
    }

    /// Whether bytes can be an object's first: all that there is of it may be fewer than its magic bytes.
    fn can_begin(self, head: &[u8]) -> bool {
        let begins = |magic: &[u8]| head.iter().zip(magic).all(|(byte, magic)| byte == magic);
        let skipped = || matches!(head, [0x50..=0x5f, rest @ ..] if rest.iter().zip(b"\x2a\x4d\x18").all(|(a, b)| a == b));
        match self {
            Self::None => true,
            Self::Gzip => begins(&[0x1f, 0x8b]),
            // The size of blocks, then the first one, or the end of a stream of none.
            Self::Bzip2 => {
                begins(b"BZh")
                    && head.get(3).is_none_or(|level| (b'1'..=b'9').contains(level))
                    && [&b"1AY&SY"[..], b"\x17rE8P\x90"]
                        .into_iter()
                        .any(|first| head.iter().skip(4).zip(first).all(|(byte, first)| byte == first))
            }
            // With frames that are skipped pzstd begins.
            Self::Zstd => begins(&[0x28, 0xb5, 0x2f, 0xfd]) || skipped(),
            Self::Lz4 => begins(&[0x04, 0x22, 0x4d, 0x18]) || begins(&lz4::LEGACY_MAGIC) || skipped(),
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

    fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    /// The content of compressed bytes.
    pub fn decode(self, bytes: Box<dyn Read + Send>, url: &str) -> Box<dyn Read + Send> {
        self.decode_part(bytes, url, None)
    }

    /// The content of a part of an object, which begins and ends with frames.
    pub(super) fn decode_part(
        self,
        bytes: Box<dyn Read + Send>,
        url: &str,
        part: Option<Range<u64>>,
    ) -> Box<dyn Read + Send> {
        if self == Self::None {
            return bytes;
        }
        let input = Stored::with_capacity(128 << 10, bytes);
        let decoder: Box<dyn Read + Send> = match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(GzipMembers::new(input)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Self::Zstd => Box::new(ZstdFrames::new(input)),
            Self::Lz4 => Box::new(Lz4Frames::new(input)),
        };
        Box::new(Named { decoder, codec: self, url: url.to_owned(), part })
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
        self.decoder.read(buf).map_err(|error| self.named(error))
    }
}

impl Named {
    fn named(&self, error: io::Error) -> io::Error {
        // What the store below has said is not the decoder's.
        if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>) {
            return error;
        }
        let (url, codec) = (&self.url, self.codec.name());
        let said = error.to_string();
        // The libraries' own words: their errors have no numbers of their own.
        if said.contains("ictionary") {
            return Error::permanent(format!(
                "{url} is {codec} data that needs a dictionary, and dictionaries are not read"
            ))
            .because("compress it again without one")
            .into();
        }
        if let Some(&LargeWindow(bytes)) = error.get_ref().and_then(|inner| inner.downcast_ref())
            && bytes <= MAX_WINDOW
        {
            let (window, most) = (bytes >> 20, memory::most_for_codecs() >> 20);
            return Error::permanent(format!(
                "{url} is zstd data with a window of {window} MiB, and there is memory for one of {most} MiB"
            ))
            .because("give the job more memory, or compress it again with a smaller --long")
            .into();
        }
        if said.contains("too much memory") {
            return Error::permanent(format!("{url} is zstd data with a window of more than 2 GiB"))
                .because("compress it again without --long, or with --long=31 at most")
                .into();
        }
        if said.contains("not enough memory") {
            return Error::retry(format!(
                "there is not enough memory for the window of {url}, which is zstd data"
            ))
            .into();
        }
        let error = Error::permanent(format!("{url} is truncated or damaged {codec} data")).because(error);
        match &self.part {
            Some(Range { start, end }) => error.because(format_args!(
                "bytes {start} to {end} were read: if other programs read it, set input.splitSize to its size, which \
                 leaves it whole"
            )),
            None => error,
        }
        .into()
    }
}

/// The largest window that is read.
const MAX_WINDOW: u64 = 2 << 30;

/// A zstd window for which there isn't memory.
#[derive(Debug, thiserror::Error)]
#[error("a window of {0} bytes is too much memory")]
struct LargeWindow(u64);

fn too_large_a_window(bytes: u64) -> io::Error {
    io::Error::other(LargeWindow(bytes))
}

/// Bytes that end before they should.
fn truncated() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

/// The first bytes of the next frame; fewer at the end of the object.
fn next_magic(input: &mut Stored) -> io::Result<Vec<u8>> {
    let mut magic = Vec::with_capacity(4);
    input.take(4).read_to_end(&mut magic)?;
    Ok(magic)
}

/// Skips the content of a frame: its size in 4 bytes, and so many.
fn skip_frame(input: &mut Stored) -> io::Result<()> {
    let mut size = [0; 4];
    input.read_exact(&mut size)?;
    let size = u64::from(u32::from_le_bytes(size));
    let skipped = io::copy(&mut input.take(size), &mut io::sink())?;
    if skipped == size { Ok(()) } else { Err(truncated()) }
}

/// Whether a frame that begins so is skipped.
fn is_skipped(magic: &[u8]) -> bool {
    matches!(magic, [0x50..=0x5f, 0x2a, 0x4d, 0x18])
}

#[cfg(test)]
mod tests;
