//! Intermediate data that is kept: some bytes in memory or in a scratch file, or still in a store.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::fetched::FetchedPiece;
use crate::error::{Error, IoContext as _, Result};
use crate::memory::MemoryReservation;

/// Bytes that are kept.
#[derive(Clone, Debug)]
pub enum Segment {
    /// In memory; given back to the budget when the last user is gone.
    Memory {
        /// The memory.
        reserved: Arc<ReservedBytes>,
        /// Where in it the bytes are.
        range: Range<usize>,
    },
    /// In a scratch file.
    File {
        /// Where they were written; given back to the file system when the last user is gone.
        extent: Arc<FileExtent>,
        /// Where in it the bytes are.
        range: Range<u64>,
    },
    /// In a store, until somebody [fetches](Self::fetch) it.
    Fetched {
        /// What is fetched at once; given back when the last user is gone.
        piece: Arc<FetchedSegment>,
        /// Where in it the bytes are.
        range: Range<u64>,
    },
}

/// A segment that is still in a store, or was.
pub type FetchedSegment = FetchedPiece<Segment>;

/// Bytes in memory that count against a budget.
#[derive(Debug)]
pub struct ReservedBytes {
    pub(super) bytes: Vec<u8>,
    pub(super) _reservation: MemoryReservation,
}

impl ReservedBytes {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A part of a scratch file. The file has no name any more: it is gone when the last of its stretches is.
#[derive(Debug)]
pub struct FileExtent {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl Drop for FileExtent {
    /// Gives back the blocks that are this stretch's alone: a scratch file has runs of all partitions, and would
    /// otherwise take its space until the last one is reduced. Pages that were never written to the disk needn't be
    /// any more, and can be used again at once.
    fn drop(&mut self) {
        let (start, end) = (self.offset.next_multiple_of(BLOCK), (self.offset + self.bytes) / BLOCK * BLOCK);
        // Closing the file will do.
        let is_last = Arc::strong_count(&self.file) == 1;
        if is_last || end < start + MIN_GIVEN_BACK {
            return;
        }
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};

            // A file system that can't do it keeps the space until the file is closed.
            let _ = fallocate(
                &*self.file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                start,
                end - start,
            );
        }
    }
}

/// Bytes of a block of the file system, or a multiple of it.
const BLOCK: u64 = 4 << 10;
/// Giving back less is not worth the call.
const MIN_GIVEN_BACK: u64 = 64 << 10;

impl Segment {
    /// The bytes of a piece.
    pub fn fetched(piece: Arc<FetchedSegment>) -> Self {
        let range = 0..piece.len();
        Self::Fetched { piece, range }
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory { range, .. } => range.len() as u64,
            Self::File { range, .. } | Self::Fetched { range, .. } => range.end - range.start,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range, which is cut at the end of what there is.
    #[must_use]
    pub fn slice(&self, wanted: Range<u64>) -> Self {
        let (from, to) = (wanted.start.min(self.len()), wanted.end.min(self.len()));
        match self {
            Self::Memory { reserved, range } => {
                let range = range.start + from as usize..range.start + to as usize;
                Self::Memory { reserved: Arc::clone(reserved), range }
            }
            Self::File { extent, range } => {
                Self::File { extent: Arc::clone(extent), range: range.start + from..range.start + to }
            }
            Self::Fetched { piece, range } => {
                Self::Fetched { piece: Arc::clone(piece), range: range.start + from..range.start + to }
            }
        }
    }

    /// The same bytes, whose space in a file is given back before that of what was written with them.
    #[must_use]
    pub fn apart(&self) -> Self {
        match self {
            Self::Memory { .. } | Self::Fetched { .. } => self.clone(),
            Self::File { extent, range } => {
                let (offset, bytes) = (extent.offset + range.start, range.end - range.start);
                let extent = FileExtent { file: Arc::clone(&extent.file), offset, bytes };
                Self::File { extent: Arc::new(extent), range: 0..bytes }
            }
        }
    }

    /// The bytes, if they are in memory.
    #[inline]
    pub fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory { reserved, range } => reserved.bytes().get(range.clone()),
            Self::File { .. } | Self::Fetched { .. } => None,
        }
    }

    /// Fetches the bytes, if they are still in a store.
    pub fn fetch(&mut self) -> Result<()> {
        if let Self::Fetched { piece, range } = self {
            *self = piece.fetch()?.slice(range.clone());
        }
        Ok(())
    }

    /// Fills `buf` from the byte at `at` on.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> Result<()> {
        match self {
            Self::Memory { .. } => {
                let range = at as usize..at as usize + buf.len();
                match self.in_memory().and_then(|bytes| bytes.get(range)) {
                    Some(bytes) => buf.copy_from_slice(bytes),
                    None => return Err(Error::retry("intermediate data ends too early")),
                }
            }
            Self::File { extent, range } => {
                let FileExtent { file, offset, .. } = &**extent;
                let from = offset + range.start + at;
                file.read_exact_at(buf, from).context(|| "can't read a scratch file".into())?;
            }
            Self::Fetched { piece, range } => piece.fetch()?.read_at(buf, range.start + at)?,
        }
        Ok(())
    }
}
