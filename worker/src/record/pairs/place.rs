//! Where pairs are kept between steps.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use mapreduce_api::v1alpha1::ShuffleCompression;

use super::writer::{PairsWriter, Sink};
use crate::error::{Error, Result};
use crate::record::block::BlockCodec;
use crate::record::pieces::{PieceWriter, Pieces, stretch};
use crate::record::space::{Kept, Space};
use crate::record::split::Split;
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
                PairsWriter::new(name, kept.space.codec(), Sink::Kept(KeptWriter::new(kept)))
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
    objects: Mutex<HashMap<String, Vec<Kept>>>,
}

impl KeptPairs {
    /// None yet.
    pub fn new(space: &Arc<Space>) -> Arc<Self> {
        Arc::new(Self { space: Arc::clone(space), objects: Mutex::default() })
    }

    fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Kept>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, split: &Split) -> Result<Pieces> {
        match self.all().get(&split.url) {
            Some(pieces) => Ok(Pieces::new(stretch(pieces, &(split.start..split.end)))),
            None => Err(Error::retry(format!("there are no pairs {}", split.url))),
        }
    }
}

/// Writes into [`KeptPairs`].
pub(super) struct KeptWriter {
    kept: Arc<KeptPairs>,
    pieces: PieceWriter,
}

impl KeptWriter {
    fn new(kept: &Arc<KeptPairs>) -> Self {
        Self { kept: Arc::clone(kept), pieces: PieceWriter::new(&kept.space) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pieces.append(|out| {
            out.extend_from_slice(bytes);
            Ok(())
        })
    }

    pub(super) fn publish(mut self, name: &str) -> Result<()> {
        let pieces = self.pieces.finish()?;
        self.kept.all().insert(name.to_owned(), pieces);
        Ok(())
    }
}
