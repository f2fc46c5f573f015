//! The bytes of a Parquet object, as the library asks for them.

use std::io::Read as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use mapreduce_api::v1alpha1::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::thrift;
use crate::error::{Error, Result};
use crate::input::source::{codec_of, open};
use crate::record::split::{Codec, Split, Url};
use crate::storage::{Counter, Entry, Location, Stores};

/// Columns with less than this between them are read at once.
const GAP: u64 = 1 << 20;

/// An object by ranges: those that are kept, and others as they are asked for.
#[derive(Clone)]
pub(super) struct Ranges {
    source: Arc<Mutex<Kept>>,
    size: u64,
    /// Whether all of it is kept: it was compressed as a whole, or comes only in one piece.
    pub(super) is_whole: bool,
}

struct Kept {
    url: Url,
    place: Location,
    entry: Entry,
    counter: Counter,
    /// Where stretches begin, and their bytes.
    stretches: Vec<(u64, Bytes)>,
}

impl Ranges {
    pub(super) fn open(split: &Split, compression: Compression, stores: &Stores) -> Result<Self> {
        let place = stores.locate(&split.url)?;
        let entry = Entry { key: place.key.clone(), size: split.size, version: split.version.clone() };
        let (mut size, mut stretches, mut is_whole) = (split.size, Vec::new(), false);
        let can_seek = place.store.has_ranges(&entry.key)?;
        if !can_seek || codec_of(&place, &entry, compression)? != Codec::None {
            let mut content = Vec::new();
            open(split, compression, 0, stores)?.content.read_to_end(&mut content)?;
            size = content.len() as u64;
            stretches.push((0, content.into()));
            is_whole = true;
        }
        let url = Arc::from(split.url.as_str());
        let kept = Kept { url, place, entry, counter: stores.counter(), stretches };
        Ok(Self { source: Arc::new(Mutex::new(kept)), size, is_whole })
    }

    /// Reads ranges, which ascend, and forgets those before.
    pub(super) fn keep(&self, ranges: &[Range<u64>]) -> Result<()> {
        if self.is_whole {
            return Ok(());
        }
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match stretches.last_mut() {
                Some(last) if range.start <= last.end + GAP => last.end = last.end.max(range.end),
                _ => stretches.push(range.clone()),
            }
        }
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.stretches.clear();
        for stretch in stretches {
            let bytes = source.read(stretch.clone(), self.size)?;
            source.stretches.push((stretch.start, bytes));
        }
        Ok(())
    }

    fn get(&self, start: u64, length: usize) -> Result<Bytes> {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let end = start.saturating_add(length as u64);
        let kept =
            source.stretches.iter().find(|(from, bytes)| *from <= start && end <= from + bytes.len() as u64);
        match kept {
            Some((from, bytes)) => Ok(bytes.slice((start - from) as usize..(end - from) as usize)),
            None => source.read(start..end, self.size),
        }
    }
}

impl Kept {
    fn read(&self, range: Range<u64>, size: u64) -> Result<Bytes> {
        if range.start > range.end || range.end > size {
            return Err(Error::permanent(format!("{} is damaged Parquet data", self.url))
                .because(format!("it points to bytes {range:?} and has {size}")));
        }
        let length = range.end - range.start;
        let mut bytes = Vec::with_capacity(length as usize);
        self.counter.counted(self.place.store.open(&self.entry, range)?).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(Error::retry(format!("got {} bytes of {length} from {}", bytes.len(), self.url)));
        }
        Ok(bytes.into())
    }
}

impl Length for Ranges {
    fn len(&self) -> u64 {
        self.size
    }
}

impl Ranges {
    /// Reads the footer, which is kept for the library, and looks whether it can be one.
    pub(super) fn check_footer(&self) -> parquet::errors::Result<()> {
        // What isn't so is the library's to say.
        let Some(length_at) = self.size.checked_sub(FOOTER_END) else { return Ok(()) };
        let external = |error| ParquetError::External(Box::new(error));
        let tail = self.size.saturating_sub(TAIL);
        self.keep(std::slice::from_ref(&(tail..self.size))).map_err(external)?;
        let mut end = self.get(length_at, FOOTER_END as usize).map_err(external)?;
        let length = end.get_u32_le();
        let start = length_at.checked_sub(length.into());
        let Some(start) = start.filter(|_| *end == *b"PAR1") else { return Ok(()) };
        if start < tail {
            self.keep(std::slice::from_ref(&(start..self.size))).map_err(external)?;
        }
        let footer = self.get(start, length as usize).map_err(external)?;
        thrift::check(&footer, &thrift::FOOTER)
            .map_err(|why| ParquetError::General(format!("the footer: {why}")))
    }
}

/// Bytes behind the footer: its length, and `PAR1`.
const FOOTER_END: u64 = 8;
/// Most bytes that a reader from some place on gets where they aren't kept: the footer's end.
const TAIL: u64 = 64 << 10;

impl ChunkReader for Ranges {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let kept = {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let at = |(from, bytes): &(u64, Bytes)| {
                let skip = usize::try_from(start.checked_sub(*from)?).ok()?;
                (skip < bytes.len()).then(|| bytes.slice(skip..))
            };
            source.stretches.iter().find_map(at)
        };
        let bytes = match kept {
            Some(bytes) => bytes,
            None => self
                .get(start, self.size.saturating_sub(start).min(TAIL) as usize)
                .map_err(|error| ParquetError::External(Box::new(error)))?,
        };
        // Beside the file's last bytes, only a page's header is read without saying how much of it.
        if start + FOOTER_END != self.size {
            let impossible = |why| ParquetError::General(format!("the page header at byte {start}: {why}"));
            thrift::check(&bytes, &thrift::PAGE_HEADER).map_err(impossible)?;
        }
        Ok(bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.get(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}
