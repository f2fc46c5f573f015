//! Pairs between steps that stay in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::record::block::BLOCK_BYTES;
use crate::record::segment::Segment;
use crate::record::segments::{SegmentReader, SegmentWriter, segments_in};
use crate::record::spill_store::SpillStore;
use crate::record::split::Split;

/// Pairs in the memory and the scratch files of this process.
#[derive(Debug)]
pub struct LocalPairs {
    pub(super) spill_store: Arc<SpillStore>,
    objects: Mutex<HashMap<String, Vec<Segment>>>,
}

impl LocalPairs {
    /// None yet.
    pub fn new(spill_store: &Arc<SpillStore>) -> Arc<Self> {
        Arc::new(Self { spill_store: Arc::clone(spill_store), objects: Mutex::default() })
    }

    pub(super) fn all(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Segment>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, split: &Split) -> Result<SegmentReader> {
        match self.all().get(&split.url) {
            Some(segments) => Ok(SegmentReader::new(segments_in(segments, &(split.start..split.end)))),
            None => Err(Error::retry(format!("there are no pairs {}", split.url))),
        }
    }
}

/// Writes into [`LocalPairs`].
pub(super) struct LocalPairsWriter {
    kept: Arc<LocalPairs>,
    segments: SegmentWriter,
}

impl LocalPairsWriter {
    pub(super) fn new(kept: &Arc<LocalPairs>) -> Self {
        Self { kept: Arc::clone(kept), segments: SegmentWriter::new(&kept.spill_store) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        // A large pair is more than a segment.
        bytes.chunks(BLOCK_BYTES).try_for_each(|bytes| {
            self.segments.append(|out| {
                out.extend_from_slice(bytes);
                Ok(())
            })
        })
    }

    pub(super) fn publish(mut self, name: &str) -> Result<()> {
        let segments = self.segments.finish()?;
        self.kept.all().insert(name.to_owned(), segments);
        Ok(())
    }
}
