//! Reads a run, pair by pair: from its blocks, or where it was sorted.

use std::ops::Range;
use std::sync::Arc;

use super::radix::prefix;
use super::run::{Place, Run};
use super::sort::{Ahead, Sorted};
use crate::error::Result;
use crate::record::block::{HEADER, Header, Span, record_at};
use crate::record::pieces::Pieces;
use crate::record::space::Kept;

/// Reads a run, pair by pair.
#[derive(Debug)]
pub struct RunReader {
    name: Arc<str>,
    source: Source,
    span: Span,
    /// The current key's first 8 bytes, as a number that sorts as they do.
    prefix: u64,
}

#[derive(Debug)]
enum Source {
    Blocks(Blocks),
    Sorted(Sorted, Box<Ahead>),
}

impl RunReader {
    /// A reader before the run's first record.
    pub fn new(run: Run) -> Self {
        let source = match run.pairs {
            Place::Blocks(pieces) => Source::Blocks(Blocks::new(pieces)),
            Place::Sorted(sorted) => Source::Sorted(sorted, Box::default()),
        };
        Self { name: run.name, source, span: Span::default(), prefix: 0 }
    }

    /// Goes to the next record; false at the end.
    #[inline]
    pub fn advance(&mut self) -> Result<bool> {
        let span = match &mut self.source {
            Source::Blocks(blocks) => blocks.next(self.span),
            Source::Sorted(sorted, ahead) => sorted.next(ahead),
        };
        let Some(span) = span.map_err(|e| e.context(format!("can't read {}", self.name)))? else {
            return Ok(false);
        };
        self.span = span;
        self.prefix = prefix(self.key());
        Ok(true)
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Blocks(blocks) => blocks.block(),
            Source::Sorted(sorted, _) => sorted.arena(),
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
    pieces: Pieces,
    stored: Vec<u8>,
    raw: Vec<u8>,
    /// Where the decoded block is.
    block: Block,
}

#[derive(Clone, Debug)]
enum Block {
    /// In `raw`.
    Raw,
    /// In `stored`.
    Stored,
    /// In the piece itself.
    Piece(Range<usize>),
}

impl Blocks {
    fn new(pieces: Vec<Kept>) -> Self {
        Self { pieces: Pieces::new(pieces), stored: Vec::new(), raw: Vec::new(), block: Block::Raw }
    }

    #[inline]
    fn block(&self) -> &[u8] {
        match &self.block {
            Block::Raw => &self.raw,
            Block::Stored => &self.stored,
            Block::Piece(range) => self.pieces.taken(range.clone()),
        }
    }

    /// The record behind this one.
    #[inline]
    fn next(&mut self, span: Span) -> Result<Option<Span>> {
        if span.end < self.block().len() {
            return record_at(self.block(), span.end).map(Some);
        }
        if self.next_block()? { record_at(self.block(), 0).map(Some) } else { Ok(None) }
    }

    fn next_block(&mut self) -> Result<bool> {
        self.block = Block::Raw;
        self.raw.clear();
        if self.pieces.is_at_end() {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        self.pieces.fill(&mut header)?;
        let header = Header::parse(&header)?;
        let stored = header.stored as usize;
        if let Some(range) = self.pieces.take(stored) {
            let payload = self.pieces.taken(range.clone());
            if std::ptr::eq(header.decode(payload, &mut self.raw)?, payload) {
                self.block = Block::Piece(range);
            }
        } else {
            self.stored.resize(stored, 0);
            self.pieces.fill(&mut self.stored)?;
            if header.decode(&self.stored, &mut self.raw)?.as_ptr() == self.stored.as_ptr() {
                self.block = Block::Stored;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::run::{Place, Run, RunWriter};
    use super::RunReader;
    use crate::record::block::BlockCodec;
    use crate::record::space::{Kept, Space};

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
            let space = Space::new(memory, dir.path().to_owned(), codec);
            let mut writer = RunWriter::new(&space);
            let pair = |i: u64| {
                let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
                (i.to_be_bytes().to_vec(), noise.repeat(1 + i as usize % 5))
            };
            let pairs: Vec<_> = (0..20_000).map(pair).collect();
            pairs.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
            let run = writer.end(&Arc::from("run")).unwrap();
            let Place::Blocks(whole) = &run.pairs else { panic!() };
            let mut bytes = Vec::new();
            for piece in whole {
                let from = bytes.len();
                bytes.resize(from + piece.len() as usize, 0);
                piece.read_at(&mut bytes[from..], 0).unwrap();
            }
            cuts.extend([0, bytes.len() as u64]);
            cuts.retain(|&cut| cut <= bytes.len() as u64);
            cuts.sort_unstable();
            let kept = |cut: &[u64]| space.keep(&mut bytes[cut[0] as usize..cut[1] as usize].to_vec()).unwrap();
            let mut pieces: Vec<Kept> = cuts.windows(2).map(kept).collect();
            let again = Run { pairs: Place::Blocks(pieces.clone()), ..run.clone() };
            prop_assert!(read(again).unwrap() == pairs);
            let last = pieces.iter().rposition(|piece| !piece.is_empty()).unwrap();
            pieces[last] = pieces[last].slice(0..pieces[last].len() - 1);
            let short = Run { pairs: Place::Blocks(pieces), ..run };
            let error = format!("{:?}", read(short).unwrap_err());
            prop_assert!(error.contains("ends too early"), "{}", error);
        }
    }
}
