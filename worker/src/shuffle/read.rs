//! Reads a run, pair by pair: from its blocks, or where it was sorted.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use super::radix::prefix;
use super::run::{Run, RunData};
use super::sort::{Ahead, SortedRun};
use crate::error::Result;
use crate::memory::{LARGE_RECORD, LargeRecord, large_record};
use crate::record::block::{BlockHeader, HEADER, Span, record_at, record_of};
use crate::record::segment::Segment;
use crate::record::segments::SegmentReader;

/// Reads a run, pair by pair.
#[derive(Debug)]
pub struct RunReader {
    name: Arc<str>,
    source: RunSource,
    span: Span,
    /// The current key's first 8 bytes, as a number that sorts as they do.
    prefix: u64,
}

#[derive(Debug)]
enum RunSource {
    Blocks(Blocks),
    Sorted(SortedRun, Box<Ahead>),
}

impl RunReader {
    /// A reader before the run's first record.
    pub fn new(run: Run) -> Self {
        let source = match run.pairs {
            RunData::Blocks(segments) => RunSource::Blocks(Blocks::new(segments)),
            RunData::Sorted(sorted) => RunSource::Sorted(sorted, Box::default()),
        };
        Self { name: run.name, source, span: Span::default(), prefix: 0 }
    }

    /// Goes to the next record; false at the end.
    pub fn advance(&mut self) -> Result<bool> {
        let there = self.advance_to_key()?;
        self.load().map(|()| there)
    }

    /// Goes to the next record, whose value and the rest of a large key are there when it is [loaded](Self::load); false
    /// at the end.
    #[inline]
    pub fn advance_to_key(&mut self) -> Result<bool> {
        let span = match &mut self.source {
            RunSource::Blocks(blocks) => blocks.next(self.span),
            RunSource::Sorted(sorted, ahead) => sorted.next(ahead),
        };
        let Some(span) = span.map_err(|e| e.context(format!("can't read {}", self.name)))? else {
            return Ok(false);
        };
        self.span = span;
        let bytes = self.bytes();
        self.prefix = prefix(bytes.get(span.key..span.value).unwrap_or_else(|| &bytes[span.key..]));
        Ok(true)
    }

    /// Has the current record's value, and all of its key.
    #[inline]
    pub fn load(&mut self) -> Result<()> {
        match &mut self.source {
            RunSource::Blocks(blocks) if blocks.unread.is_some() => {
                blocks.load().map_err(|e| e.context(format!("can't read {}", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// The order of the current records' keys, loaded or not. What can't be read is found out when it is loaded.
    #[inline]
    pub fn compare_keys(&self, other: &Self) -> Ordering {
        let key = |run: &Self| run.span.key..run.span.value;
        match (self.bytes().get(key(self)), other.bytes().get(key(other))) {
            (Some(key), Some(others)) => key.cmp(others),
            _ => self.compare_unread(key(self), other, key(other)),
        }
    }

    /// The same of the current records' values.
    pub fn compare_values(&self, other: &Self) -> Ordering {
        let value = |run: &Self| run.span.value..run.span.end;
        match (self.bytes().get(value(self)), other.bytes().get(value(other))) {
            (Some(value), Some(others)) => value.cmp(others),
            _ => self.compare_unread(value(self), other, value(other)),
        }
    }

    #[cold]
    fn compare_unread(&self, place: Range<usize>, other: &Self, others: Range<usize>) -> Ordering {
        let (mut a, mut b) = ([0; COMPARED], [0; COMPARED]);
        let lengths = [place.len(), others.len()];
        for at in (0..lengths[0].min(lengths[1])).step_by(COMPARED) {
            let bytes = COMPARED.min(lengths[0] - at).min(lengths[1] - at);
            let read = self
                .read_at(place.start + at, &mut a[..bytes])
                .and_then(|()| other.read_at(others.start + at, &mut b[..bytes]));
            match (read, a[..bytes].cmp(&b[..bytes])) {
                (Ok(()), Ordering::Equal) => {}
                (Ok(()), different) => return different,
                (Err(_), _) => return Ordering::Equal,
            }
        }
        lengths[0].cmp(&lengths[1])
    }

    /// Fills `buf` with bytes of the block from `at` on, loaded or not.
    fn read_at(&self, at: usize, buf: &mut [u8]) -> Result<()> {
        let loaded = self.bytes();
        let there = loaded.len().saturating_sub(at).min(buf.len());
        buf[..there].copy_from_slice(&loaded[at.min(loaded.len())..][..there]);
        match &self.source {
            RunSource::Blocks(blocks) if there < buf.len() => {
                blocks.segments.peek((at + there - loaded.len()) as u64, &mut buf[there..])
            }
            _ => Ok(()),
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.source {
            RunSource::Blocks(blocks) => blocks.block(),
            RunSource::Sorted(sorted, _) => sorted.arena(),
        }
    }

    /// The current record's key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.bytes()[self.span.key..self.span.value]
    }

    /// The current record's value.
    #[inline]
    pub fn value(&self) -> &[u8] {
        &self.bytes()[self.span.value..self.span.end]
    }

    /// The current key's first 8 bytes, as a number that sorts as they do.
    #[inline]
    pub fn prefix(&self) -> u64 {
        self.prefix
    }
}

/// Reads blocks, one after the other.
#[derive(Debug)]
struct Blocks {
    segments: SegmentReader,
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// Where the decoded block is.
    block: BlockBytes,
    /// The header of a block of which only the first bytes have been read, into `raw`: a large pair's lengths and the
    /// beginning of its key.
    unread: Option<BlockHeader>,
    /// Held while there is a large record.
    large: Option<LargeRecord>,
}

/// Bytes of keys or values that are compared at once.
const COMPARED: usize = 16 << 10;
/// First bytes of a large pair that are read.
const START: usize = 4 << 10;

#[derive(Clone, Debug)]
enum BlockBytes {
    /// In `raw`.
    Raw,
    /// In `stored`.
    Stored,
    /// In the segment itself.
    Piece(Range<usize>),
}

impl Blocks {
    fn new(segments: Vec<Segment>) -> Self {
        Self {
            segments: SegmentReader::new(segments),
            stored: Vec::new(),
            raw: Vec::new(),
            block: BlockBytes::Raw,
            unread: None,
            large: None,
        }
    }

    #[inline]
    fn block(&self) -> &[u8] {
        match &self.block {
            BlockBytes::Raw => &self.raw,
            BlockBytes::Stored => &self.stored,
            BlockBytes::Piece(range) => self.segments.taken(range.clone()),
        }
    }

    /// The record after this one.
    #[inline]
    fn next(&mut self, span: Span) -> Result<Option<Span>> {
        if span.end < self.block().len() {
            return record_at(self.block(), span.end).map(Some);
        }
        if !self.next_block()? {
            return Ok(None);
        }
        match self.unread {
            None => record_at(self.block(), 0).map(Some),
            Some(header) => record_of(&self.raw, 0, header.stored as usize).map(Some),
        }
    }

    /// Reads the beginning of a large pair.
    fn start(&mut self, header: BlockHeader) -> Result<()> {
        self.raw.resize(START, 0);
        self.segments.fill(&mut self.raw)?;
        self.unread = Some(header);
        Ok(())
    }

    /// Reads the rest of it.
    #[cold]
    fn load(&mut self) -> Result<()> {
        let Some(header) = self.unread.take() else { return Ok(()) };
        let (there, all) = (self.raw.len(), header.stored as usize);
        if all > LARGE_RECORD {
            self.large = Some(large_record());
        }
        self.raw.reserve_exact(all - there);
        self.raw.resize(all, 0);
        self.segments.fill(&mut self.raw[there..])?;
        header.decode(&self.raw, &mut Vec::new()).map(drop)
    }

    fn next_block(&mut self) -> Result<bool> {
        self.block = BlockBytes::Raw;
        self.raw.clear();
        if self.raw.capacity() > LARGE_RECORD {
            self.raw = Vec::new();
        }
        self.large = None;
        if self.segments.is_at_end() {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        self.segments.fill(&mut header)?;
        let header = BlockHeader::parse(&header)?;
        let stored = header.stored as usize;
        if let Some(range) = self.segments.take(stored) {
            let payload = self.segments.taken(range.clone());
            if std::ptr::eq(header.decode(payload, &mut self.raw)?, payload) {
                self.block = BlockBytes::Piece(range);
            }
        } else if header.is_large_pair() {
            self.start(header)?;
        } else {
            self.stored.resize(stored, 0);
            self.segments.fill(&mut self.stored)?;
            if header.decode(&self.stored, &mut self.raw)?.as_ptr() == self.stored.as_ptr() {
                self.block = BlockBytes::Stored;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::run::{Run, RunData, RunWriter};
    use super::RunReader;
    use crate::record::block::BlockCodec;
    use crate::record::segment::Segment;
    use crate::record::spill_store::SpillStore;

    fn read(run: Run) -> crate::error::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let (mut reader, mut pairs) = (RunReader::new(run), Vec::new());
        while reader.advance()? {
            pairs.push((reader.key().to_vec(), reader.value().to_vec()));
        }
        Ok(pairs)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn blocks_are_read_wherever_pieces_are_cut(
            mut cuts in proptest::collection::vec(0u64..700_000, 0..6),
            memory in prop_oneof![Just(0u64), Just(1 << 30), Just(1 << 20)],
            codec in prop_oneof![Just(BlockCodec::None), Just(BlockCodec::Zstd)],
        ) {
            let dir = tempfile::tempdir().unwrap();
            let spill_store = SpillStore::new(memory, dir.path().to_owned(), codec);
            let mut writer = RunWriter::new(&spill_store);
            let pair = |i: u64| {
                let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                (i.to_be_bytes().to_vec(), noise.repeat(1 + i as usize % 5))
            };
            let pairs: Vec<_> = (0..20_000).map(pair).collect();
            pairs.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
            let run = writer.end(&Arc::from("run")).unwrap();
            let RunData::Blocks(whole) = &run.pairs else { panic!() };
            let mut bytes = Vec::new();
            for segment in whole {
                let from = bytes.len();
                bytes.resize(from + segment.len() as usize, 0);
                segment.read_at(&mut bytes[from..], 0).unwrap();
            }
            cuts.extend([0, bytes.len() as u64]);
            cuts.retain(|&cut| cut <= bytes.len() as u64);
            cuts.sort_unstable();
            let kept = |cut: &[u64]| spill_store.keep(&mut bytes[cut[0] as usize..cut[1] as usize].to_vec()).unwrap();
            let mut segments: Vec<Segment> = cuts.windows(2).map(kept).collect();
            let again = Run { pairs: RunData::Blocks(segments.clone()), ..run.clone() };
            prop_assert!(read(again).unwrap() == pairs);
            let last = segments.iter().rposition(|segment| !segment.is_empty()).unwrap();
            segments[last] = segments[last].slice(0..segments[last].len() - 1);
            let short = Run { pairs: RunData::Blocks(segments), ..run };
            let error = format!("{:?}", read(short).unwrap_err());
            prop_assert!(error.contains("ends too early"), "{}", error);
        }
    }
}
