//! The bytes of a Parquet object, as the library asks for them.

use std::io::Read as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use mapreduce_api::v1alpha1::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::thrift;
use crate::error::{Error, Result};
use crate::input::source::{codec_of, open};
use crate::machine::variables;
use crate::memory::{self, MemoryReservation};
use crate::record::split::{Codec, Split, Url};
use crate::scratch::{READ, ScratchBytes, ScratchPlace};
use crate::storage::{Counter, ListedObject, Location, Stores};

/// Columns with less than this between them are read at once.
const GAP: u64 = 1 << 20;
/// Where a row group is not read at once: bytes that are read of it at once, all columns together.
const WINDOWS: u64 = 8 << 20;
/// Row groups that there is memory for, or fewer bytes are read at once.
const READERS: u64 = 8;
/// The least that is read of a column at once.
const MIN_WINDOW: u64 = 64 << 10;

/// An object by ranges: those that are kept, and others as they are asked for.
#[derive(Clone)]
pub(super) struct ObjectRanges {
    source: Arc<Mutex<RangeReads>>,
    size: u64,
    /// Whether it is read whole, and not by splits: it was compressed as a whole, or comes only in one piece.
    pub(super) is_whole: bool,
}

struct RangeReads {
    url: Url,
    place: Location,
    entry: ListedObject,
    counter: Counter,
    /// All of an object that can't be read by ranges.
    whole: Option<ScratchBytes>,
    wanted: WantedRanges,
}

/// What is asked for.
#[derive(Default)]
struct WantedRanges {
    stretches: Vec<Stretch>,
    /// The memory, where it was read at once.
    _reservation: Option<MemoryReservation>,
}

/// A range that is asked for from its beginning to its end, and what of it is in memory.
struct Stretch {
    range: Range<u64>,
    /// Bytes that are read of it at once.
    at_once: u64,
    start: u64,
    bytes: Bytes,
}

impl Stretch {
    fn new(range: Range<u64>, at_once: u64) -> Self {
        Self { start: range.start, range, at_once, bytes: Bytes::new() }
    }

    /// What is in memory from a byte on.
    fn from(&self, start: u64) -> Option<Bytes> {
        let skip = usize::try_from(start.checked_sub(self.start)?).ok()?;
        (skip < self.bytes.len()).then(|| self.bytes.slice(skip..))
    }

    /// Whether what is in memory goes to the end.
    fn is_read(&self) -> bool {
        self.start + self.bytes.len() as u64 == self.range.end
    }
}

impl ObjectRanges {
    pub(super) fn open(split: &Split, compression: Compression, stores: &Stores) -> Result<Self> {
        let place = stores.locate(&split.url)?;
        let entry = ListedObject { key: place.key.clone(), size: split.size, version: split.version.clone() };
        let (mut size, mut whole) = (split.size, None);
        let can_seek = place.store.has_ranges(&entry.key)?;
        if !can_seek || codec_of(&place, &entry, compression)? != Codec::None {
            let in_memory = memory::piece(READERS, WINDOWS) as usize;
            let mut bytes = ScratchBytes::new(&ScratchPlace::new(variables::temporary_folder(), in_memory));
            let mut content = open(split, compression, 0, stores)?.content;
            let mut piece = vec![0; READ];
            loop {
                match content.read(&mut piece)? {
                    0 => break,
                    got => bytes.append(&piece[..got])?,
                }
            }
            size = bytes.len();
            whole = Some(bytes);
        }
        let url = Arc::from(split.url.as_str());
        let is_whole = whole.is_some();
        let counter = stores.counter();
        let kept = RangeReads { url, place, entry, counter, whole, wanted: WantedRanges::default() };
        Ok(Self { source: Arc::new(Mutex::new(kept)), size, is_whole })
    }

    fn kept(&self) -> MutexGuard<'_, RangeReads> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is asked for from now on: ranges, which ascend. They are read at once where there is memory for it, and
    /// what was kept before is forgotten.
    pub(super) fn keep(&self, ranges: &[Range<u64>]) -> Result<()> {
        let mut kept = self.kept();
        kept.wanted = WantedRanges::default();
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        let least = memory::piece(READERS, WINDOWS);
        // What is no more than a piece may always be had.
        let reservation = if bytes <= least { None } else { memory::transfers().reserve_part(bytes) };
        if bytes > least && reservation.is_none() {
            let at_once = (least / ranges.len().max(1) as u64).max(MIN_WINDOW);
            kept.wanted.stretches = ranges.iter().map(|range| Stretch::new(range.clone(), at_once)).collect();
            return Ok(());
        }
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match stretches.last_mut() {
                Some(last) if range.start <= last.end + GAP => last.end = last.end.max(range.end),
                _ => stretches.push(range.clone()),
            }
        }
        let mut read = Vec::new();
        for range in stretches {
            let bytes = kept.read(range.clone(), self.size)?;
            read.push(Stretch { bytes, ..Stretch::new(range, 0) });
        }
        kept.wanted = WantedRanges { stretches: read, _reservation: reservation };
        Ok(())
    }

    fn get(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut kept = self.kept();
        let end = start.saturating_add(length as u64);
        let there = |stretch: &Stretch| stretch.from(start).filter(|bytes| bytes.len() >= length);
        if let Some(bytes) = kept.wanted.stretches.iter().find_map(there) {
            return Ok(bytes.slice(..length));
        }
        let asked_for = |stretch: &Stretch| stretch.range.start <= start && end <= stretch.range.end;
        match kept.wanted.stretches.iter().position(asked_for) {
            Some(i) => Ok(kept.read_on(i, start, length as u64, self.size)?.slice(..length)),
            None => kept.read(start..end, self.size),
        }
    }

    /// What there is from a byte on, up to the end of what is asked for: `enough` says whether it is.
    fn get_from(&self, start: u64, enough: impl Fn(&Bytes) -> bool) -> Result<Bytes> {
        let mut kept = self.kept();
        let Some(i) = kept.wanted.stretches.iter().position(|stretch| stretch.range.contains(&start)) else {
            return kept.read(start..self.size.min(start.saturating_add(TAIL)), self.size);
        };
        let mut length = MIN_WINDOW;
        loop {
            let stretch = &kept.wanted.stretches[i];
            let bytes = match stretch.from(start) {
                Some(bytes) if stretch.is_read() => return Ok(bytes),
                Some(bytes) if bytes.len() as u64 >= length => bytes,
                _ => kept.read_on(i, start, length, self.size)?,
            };
            if enough(&bytes) || kept.wanted.stretches[i].is_read() {
                return Ok(bytes);
            }
            length = bytes.len() as u64 * 2;
        }
    }
}

impl RangeReads {
    fn read(&self, range: Range<u64>, size: u64) -> Result<Bytes> {
        if range.start > range.end || range.end > size {
            return Err(Error::permanent(format!("{} is damaged Parquet data", self.url))
                .because(format!("it points to bytes {range:?} and has {size}")));
        }
        let length = range.end - range.start;
        let mut bytes = Vec::with_capacity(length as usize);
        if let Some(whole) = &self.whole {
            bytes.resize(length as usize, 0);
            whole.read_at(&mut bytes, range.start)?;
            return Ok(bytes.into());
        }
        self.counter.counted(self.place.store.open(&self.entry, range)?).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(Error::retry(format!("got {} bytes of {length} from {}", bytes.len(), self.url)));
        }
        Ok(bytes.into())
    }

    /// Has `length` bytes of a stretch in memory from `start` on, and more after them.
    fn read_on(&mut self, i: usize, start: u64, length: u64, size: u64) -> Result<Bytes> {
        let Stretch { range, at_once, .. } = &self.wanted.stretches[i];
        let end = range.end.min(start.saturating_add(length.max(*at_once)));
        self.wanted.stretches[i].bytes = Bytes::new();
        let bytes = self.read(start..end, size)?;
        (self.wanted.stretches[i].start, self.wanted.stretches[i].bytes) = (start, bytes.clone());
        Ok(bytes)
    }
}

impl Length for ObjectRanges {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ObjectRanges {
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

/// Bytes after the footer: its length, and `PAR1`.
const FOOTER_END: u64 = 8;
/// Most bytes that a reader from some place on gets where they aren't kept: the footer's end.
const TAIL: u64 = 64 << 10;

impl ChunkReader for ObjectRanges {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let is_header = |bytes: &Bytes| thrift::check(bytes, &thrift::PAGE_HEADER).is_ok();
        let bytes =
            self.get_from(start, is_header).map_err(|error| ParquetError::External(Box::new(error)))?;
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
