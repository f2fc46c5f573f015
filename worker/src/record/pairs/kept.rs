//! Pairs between steps that stay in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::record::block::BLOCK_BYTES;
use crate::record::pieces::{PieceWriter, Pieces, stretch};
use crate::record::space::{Kept, Space};
use crate::record::split::Split;

/// Pairs in the memory and the scratch files of this process.
#[derive(Debug)]
pub struct KeptPairs {
    pub(super) space: Arc<Space>,
    objects: Mutex<HashMap<String, Vec<Kept>>>,
}

impl KeptPairs {
    /// None yet.
    pub fn new(space: &Arc<Space>) -> Arc<Self> {
        Arc::new(Self { space: Arc::clone(space), objects: Mutex::default() })
    }

    pub(super) fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Kept>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, split: &Split) -> Result<Pieces> {
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
    pub(super) fn new(kept: &Arc<KeptPairs>) -> Self {
        Self { kept: Arc::clone(kept), pieces: PieceWriter::new(&kept.space) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // A large pair is more than a piece.
        bytes.chunks(BLOCK_BYTES).try_for_each(|bytes| {
            self.pieces.append(|out| {
                out.extend_from_slice(bytes);
                Ok(())
            })
        })
    }

    pub(super) fn publish(mut self, name: &str) -> Result<()> {
        let pieces = self.pieces.finish()?;
        self.kept.all().insert(name.to_owned(), pieces);
        Ok(())
    }
}
