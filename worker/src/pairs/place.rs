//! Where pairs are kept between steps.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_api::v1alpha1::ShuffleCompression;

use super::writer::{PairsWriter, Sink};
use crate::error::{Error, Result};
use crate::input::source::Split;
use crate::shuffle::block::BlockCodec;
use crate::shuffle::space::{Kept, Space};
use crate::storage::{Entry, Location};

/// Where pairs are kept between steps.
#[derive(Clone, Debug)]
pub enum PairsPlace {
    /// In objects below the job's work folder.
    Folder(Location),
    /// In this process.
    Space(Arc<KeptPairs>),
}

impl PairsPlace {
    /// Begins an object of pairs, whose name is an attempt's own.
    pub fn create(&self, name: String, compression: ShuffleCompression) -> Result<PairsWriter> {
        Ok(match self {
            Self::Folder(folder) => {
                let stage = folder.store.stage(&folder.join(&name).key, &folder.key)?;
                PairsWriter::new(name, BlockCodec::of(compression, !folder.is_local()), Sink::Stored(stage))
            }
            Self::Space(kept) => {
                PairsWriter::new(name, BlockCodec::of(compression, false), Sink::Kept(KeptWriter::new(kept)))
            }
        })
    }

    /// What plans and errors call an object of pairs.
    pub fn url(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.url(&folder.join(name).key),
            Self::Space(_) => name.to_owned(),
        }
    }

    /// The bytes of a split.
    pub(super) fn open(&self, split: &Split) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Folder(folder) => {
                let key = split.url.strip_prefix(&folder.base).unwrap_or(&split.url).to_owned();
                let entry = Entry { key, size: split.size, version: None };
                folder.store.open(&entry, split.start..split.end)
            }
            Self::Space(kept) => Ok(Box::new(kept.open(split)?)),
        }
    }

    /// Removes an object of an attempt that came too late.
    pub fn delete(&self, name: &str) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.store.delete(&[folder.join(name).key]),
            Self::Space(kept) => {
                kept.all().remove(name);
                Ok(())
            }
        }
    }

    /// Removes all objects whose names begin with a folder's.
    pub fn delete_below(&self, prefix: &str) -> Result<()> {
        match self {
            Self::Folder(folder) => folder.store.delete_prefix(&folder.join(prefix).key),
            Self::Space(kept) => {
                kept.all().retain(|name, _| !name.starts_with(prefix));
                Ok(())
            }
        }
    }
}

/// Pairs in the memory and the scratch files of this process.
#[derive(Debug)]
pub struct KeptPairs {
    space: Arc<Space>,
    objects: Mutex<HashMap<String, Arc<[Kept]>>>,
}

impl KeptPairs {
    /// None yet.
    pub fn new(space: &Arc<Space>) -> Arc<Self> {
        Arc::new(Self { space: Arc::clone(space), objects: Mutex::default() })
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<[Kept]>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, split: &Split) -> Result<KeptReader> {
        let found = self.all().get(&split.url).map(Arc::clone);
        let pieces = found.ok_or_else(|| Error::retry(format!("there are no pairs {}", split.url)))?;
        let mut reader = KeptReader { pieces, piece: 0, at: split.start, left: split.bytes() };
        reader.seek_piece();
        Ok(reader)
    }
}

/// Bytes of blocks that are collected before they are handed to the [`Space`].
const PIECE_BYTES: usize = 4 << 20;

/// Writes into [`KeptPairs`].
pub(super) struct KeptWriter {
    kept: Arc<KeptPairs>,
    pieces: Vec<Kept>,
    buffer: Vec<u8>,
}

impl KeptWriter {
    fn new(kept: &Arc<KeptPairs>) -> Self {
        Self { kept: Arc::clone(kept), pieces: Vec::new(), buffer: Vec::new() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES { self.keep() } else { Ok(()) }
    }

    fn keep(&mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.pieces.push(self.kept.space.keep(&mut self.buffer)?);
        }
        Ok(())
    }

    pub(super) fn publish(mut self, name: &str) -> Result<()> {
        self.keep()?;
        self.kept.all().insert(name.to_owned(), self.pieces.into());
        Ok(())
    }
}

/// Reads a stretch of pieces that are one after the other.
struct KeptReader {
    pieces: Arc<[Kept]>,
    piece: usize,
    /// Where in the piece.
    at: u64,
    left: u64,
}

impl KeptReader {
    /// Goes to the piece that `at` is in.
    fn seek_piece(&mut self) {
        while let Some(piece) = self.pieces.get(self.piece)
            && self.at >= piece.len()
        {
            self.at -= piece.len();
            self.piece += 1;
        }
    }
}

impl Read for KeptReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.seek_piece();
        let Some(piece) = self.pieces.get(self.piece) else { return Ok(0) };
        let most = self.left.min(piece.len() - self.at).min(buf.len() as u64);
        piece.read_at(&mut buf[..most as usize], self.at)?;
        self.at += most;
        self.left -= most;
        Ok(most as usize)
    }
}
