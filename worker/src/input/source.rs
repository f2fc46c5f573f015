//! The bytes of a split.
//!
//! A split of an object that can be cut is a range of it. Its reader begins a delimiter's length
//! before the range, to see whether a record begins with it, and goes on after its end until the
//! last record that begins in the range is whole:
//!
//! ```text
//!  object  ···a⏎bbbbbb⏎ccc⏎dddddddd⏎e···
//!  range          [···········)              bbbbbb began before: it is the split's before.
//!  records            ccc dddddddd           dddddddd begins in it and is read to its end.
//! ```
//!
//! A compressed object is cut at its frames, and there nobody knows what is before: both edges are the length
//! of a delimiter further on, so that a record belongs to the split in which the delimiter before it begins.
//! Where in the content the split begins is not known either: offsets count from its first byte.
//!
//! ```text
//!  frames  ···a⏎bb│bbbb⏎ccc⏎│dddddddd⏎e·│··
//!  split          [·········)
//!  records              ccc  dddddddd
//! ```

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mapreduce_api::v1alpha1::Compression;

use super::codec::MAGIC_BYTES;
use crate::error::Result;
use crate::record::split::{Codec, Split};
use crate::storage::{ListedObject, Location, Stores};

/// The content of a split, and where in the object's content it begins.
pub struct ObjectReader {
    /// The content.
    pub content: Box<dyn Read + Send>,
    /// Where the content begins.
    pub offset: u64,
    /// Where the split begins: `overlap` bytes after that, unless it is the object's first.
    pub start: u64,
    /// Records that begin from here on are not the split's.
    pub end: SplitEnd,
}

/// Where a split ends in the content. In compressed content that shows when it is read.
#[derive(Clone, Debug)]
pub struct SplitEnd(Arc<AtomicU64>);

impl SplitEnd {
    /// The end of a split; none, for a whole object.
    pub fn new(end: Option<u64>) -> Self {
        Self(Arc::new(AtomicU64::new(end.unwrap_or(u64::MAX))))
    }

    /// The end, where it is known: before any byte past it is read.
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|end| *end != u64::MAX)
    }
}

impl std::fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectReader")
            .field("offset", &self.offset)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// Opens a split. Its reader sees `overlap` bytes before it.
pub fn open(split: &Split, compression: Compression, overlap: u64, stores: &Stores) -> Result<ObjectReader> {
    let place = stores.locate(&split.url)?;
    let entry = ListedObject { key: place.key.clone(), size: split.size, version: split.version.clone() };
    if !split.codec.is_none() {
        return open_frames(split, overlap, place, entry, stores);
    }
    if !split.is_whole() {
        let offset = split.start.saturating_sub(overlap);
        let bytes = place.store.open(&entry, offset..split.end)?;
        let bytes = stores.counted(bytes);
        let content = Box::new(Overrun { place, entry, bytes, at: split.end, step: FIRST_OVERRUN });
        return Ok(ObjectReader { content, offset, start: split.start, end: SplitEnd::new(Some(split.end)) });
    }
    if split.size == 0 {
        return Ok(ObjectReader {
            content: Box::new(io::empty()),
            offset: 0,
            start: 0,
            end: SplitEnd::new(None),
        });
    }
    let mut bytes = stores.counted(place.store.open(&entry, 0..split.size)?);
    let mut head = Vec::with_capacity(MAGIC_BYTES as usize);
    bytes.by_ref().take(MAGIC_BYTES).read_to_end(&mut head)?;
    let codec = Codec::of(compression, &head, &split.url)?;
    let bytes: Box<dyn Read + Send> = Box::new(io::Cursor::new(head).chain(bytes));
    Ok(ObjectReader {
        content: codec.decode(bytes, &split.url),
        offset: 0,
        start: 0,
        end: SplitEnd::new(None),
    })
}

fn open_frames(
    split: &Split,
    overlap: u64,
    place: Location,
    entry: ListedObject,
    stores: &Stores,
) -> Result<ObjectReader> {
    let bytes = stores.counted(place.store.open(&entry, split.start..split.end)?);
    let end = SplitEnd::new(None);
    let content = FrameReader {
        content: split.codec.decode_part(bytes, &split.url, Some(split.start..split.end)),
        split: split.clone(),
        behind: Some((place, entry)),
        read: 0,
        overlap,
        end: end.clone(),
    };
    let start = if split.start == 0 { 0 } else { overlap };
    Ok(ObjectReader { content: Box::new(content), offset: 0, start, end })
}

/// Bytes of content before a split of frames: what its offsets count from. It is found by decoding all of it.
pub fn content_before(split: &Split, stores: &Stores) -> Result<u64> {
    if split.codec.is_none() || split.start == 0 {
        return Ok(0);
    }
    let place = stores.locate(&split.url)?;
    let entry = ListedObject { key: place.key.clone(), size: split.size, version: split.version.clone() };
    let bytes = place.store.open(&entry, 0..split.start)?;
    Ok(io::copy(&mut split.codec.decode(bytes, &split.url), &mut io::sink())?)
}

/// The codec of an object: the one that the manifest names, or by a look at its first bytes.
pub fn codec_of(place: &Location, entry: &ListedObject, compression: Compression) -> Result<Codec> {
    if entry.size == 0 {
        return Ok(Codec::None);
    }
    if let Some(codec) = Codec::said(compression) {
        return Ok(codec);
    }
    let head = place.store.read(&entry.key, 0..entry.size.min(MAGIC_BYTES))?;
    Codec::of(compression, &head, &place.url(&entry.key))
}

/// Most records end soon after the split; the few that don't double the step.
const FIRST_OVERRUN: u64 = 64 << 10;

/// The bytes of a range, then, for as long as somebody reads on, of what comes after it.
struct Overrun {
    place: Location,
    entry: ListedObject,
    bytes: Box<dyn Read + Send>,
    at: u64,
    step: u64,
}

impl Read for Overrun {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.bytes.read(buf)?;
            if got > 0 || buf.is_empty() || self.at == self.entry.size {
                return Ok(got);
            }
            let end = self.entry.size.min(self.at + self.step);
            self.bytes = self.place.store.open(&self.entry, self.at..end)?;
            self.at = end;
            self.step *= 2;
        }
    }
}

/// The content of frames, then, for as long as somebody reads on, of those after them.
struct FrameReader {
    content: Box<dyn Read + Send>,
    split: Split,
    /// Where the frames after the split are, until they are opened.
    behind: Option<(Location, ListedObject)>,
    read: u64,
    overlap: u64,
    end: SplitEnd,
}

impl Read for FrameReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            // That a split ends where a frame does shows here: its bytes are decoded by themselves.
            let got = self.content.read(buf)?;
            self.read += got as u64;
            if got > 0 || buf.is_empty() {
                return Ok(got);
            }
            let Some((place, entry)) = self.behind.take() else { return Ok(0) };
            let Split { end, size, codec, ref url, .. } = self.split;
            if end == size {
                return Ok(0);
            }
            self.end.0.store(self.read + self.overlap, Ordering::Relaxed);
            let bytes = Box::new(io::empty());
            let behind = Overrun { place, entry, bytes, at: end, step: FIRST_OVERRUN };
            self.content = codec.decode(Box::new(behind), url);
        }
    }
}
