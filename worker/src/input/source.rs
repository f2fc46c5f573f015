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

use std::io::{self, Read};
use std::sync::Arc;

use mapreduce_api::v1alpha1::Compression;
use serde::{Deserialize, Serialize};

use super::codec::{Codec, MAGIC_BYTES};
use crate::error::{Error, Result};
use crate::storage::{Entry, Location, Stores};

/// A part of the input that one task reads by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The object.
    pub url: String,
    /// Its version when the plan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its size, as stored.
    pub size: u64,
    /// Where the split begins.
    pub start: u64,
    /// Where it ends; records that begin before are read to their end.
    pub end: u64,
}

impl Split {
    /// Bytes of the split, as stored.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }

    /// Whether the split is a whole object.
    pub fn is_whole(&self) -> bool {
        self.start == 0 && self.end == self.size
    }
}

/// The content of a split, and where in the object's content it begins.
pub struct Source {
    /// The content.
    pub content: Box<dyn Read + Send>,
    /// Where the content begins: `overlap` bytes before the split unless that is at the start.
    pub offset: u64,
    /// Records that begin from here on are not the split's: none, for a whole object.
    pub end: Option<u64>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("offset", &self.offset).field("end", &self.end).finish_non_exhaustive()
    }
}

/// Opens a split. Its reader sees `overlap` bytes before it.
pub fn open(split: &Split, compression: Compression, overlap: u64, stores: &Stores) -> Result<Source> {
    let place = stores.locate(&split.url)?;
    let entry = Entry { key: place.key.clone(), size: split.size, version: split.version.clone() };
    if !split.is_whole() {
        let offset = split.start.saturating_sub(overlap);
        let bytes = place.store.open(&entry, offset..split.end)?;
        let bytes = stores.counted(bytes);
        let content =
            Box::new(Overrun { place, entry, bytes, at: split.end, size: split.size, step: FIRST_OVERRUN });
        return Ok(Source { content, offset, end: Some(split.end) });
    }
    if split.size == 0 {
        return Ok(Source { content: Box::new(io::empty()), offset: 0, end: None });
    }
    let mut bytes = stores.counted(place.store.open(&entry, 0..split.size)?);
    let mut head = Vec::with_capacity(MAGIC_BYTES as usize);
    bytes.by_ref().take(MAGIC_BYTES).read_to_end(&mut head)?;
    let codec = Codec::of(compression, &head, &split.url);
    let bytes: Box<dyn Read + Send> = Box::new(io::Cursor::new(head).chain(bytes));
    Ok(Source { content: codec.decode(bytes, &split.url)?, offset: 0, end: None })
}

/// The codec of an object, by a look at its first bytes.
pub fn codec_of(place: &Location, entry: &Entry, compression: Compression) -> Result<Codec> {
    let looks = compression == Compression::Auto && entry.size > 0;
    let head = if looks { place.store.read(&entry.key, 0..entry.size.min(MAGIC_BYTES))? } else { vec![0] };
    Ok(Codec::of(compression, &head, &entry.key))
}

/// Most records end soon after the split; the few that don't double the step.
const FIRST_OVERRUN: u64 = 64 << 10;

/// The bytes of a range, then, for as long as somebody reads on, of what comes after it.
struct Overrun {
    place: Location,
    entry: Entry,
    bytes: Box<dyn Read + Send>,
    at: u64,
    size: u64,
    step: u64,
}

impl Read for Overrun {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.bytes.read(buf)?;
            if got > 0 || buf.is_empty() || self.at == self.size {
                return Ok(got);
            }
            let end = self.size.min(self.at + self.step);
            self.bytes = self.place.store.open(&self.entry, self.at..end)?;
            self.at = end;
            self.step *= 2;
        }
    }
}

/// Names an object in the errors of functions that only see its records.
pub(crate) type Url = Arc<str>;

/// The error of a record that is longer than allowed.
pub(crate) fn too_long(url: &str, offset: u64, most: u64) -> Error {
    Error::bad_record(
        format!("longer than {most} bytes: raise maxRecordBytes, or check the delimiter"),
        url,
        offset,
    )
}
