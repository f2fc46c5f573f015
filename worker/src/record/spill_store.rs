//! Where intermediate data is kept: memory while there is some, then scratch files.
//!
//! ```text
//!  Spill     what a map task sorted at once: a run of each partition
//!  └─ Run        sorted pairs of one partition: what is merged
//!     └─ Segment     some of its bytes, in memory or in a scratch file: what is kept, cut and given back; or
//!        │           still in a store
//!        └─ SpillStore   the memory and the scratch files that all tasks of a process share
//! ```

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::block::{BLOCK_BYTES, BlockCodec};
use super::fetched::FetchedPiece;
use super::segments::SEGMENT_BYTES;
use crate::error::{Error, IoContext as _, Result};
use crate::memory::{self, MemoryPool, MemoryReservation};
use crate::scratch::{self, nameless_file};

/// Memory and scratch space that the tasks of one process share.
#[derive(Debug)]
pub struct SpillStore {
    pool: Arc<MemoryPool>,
    codec: BlockCodec,
    scratch: Mutex<Scratch>,
    spilled: AtomicU64,
}

#[derive(Debug)]
struct Scratch {
    folder: PathBuf,
    file: Option<(Arc<File>, u64)>,
}

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
        piece: Arc<FetchedPiece>,
        /// Where in it the bytes are.
        range: Range<u64>,
    },
}

/// Bytes in memory that count against a budget.
#[derive(Debug)]
pub struct ReservedBytes {
    bytes: Vec<u8>,
    _reservation: MemoryReservation,
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
    file: Arc<File>,
    offset: u64,
    bytes: u64,
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

/// A new scratch file is begun after this many bytes, so that the space of what has been read is freed where
/// that can only be done file by file.
const SCRATCH_FILE_BYTES: u64 = 256 << 20;
/// Bytes of a block of the file system, or a multiple of it.
const BLOCK: u64 = 4 << 10;
/// Giving back less is not worth the call.
const MIN_GIVEN_BACK: u64 = 64 << 10;

impl SpillStore {
    /// A budget of `memory` bytes, and scratch files in `folder`, for which blocks are compressed by `codec`.
    pub fn new(memory: u64, folder: PathBuf, codec: BlockCodec) -> Arc<Self> {
        Arc::new(Self {
            pool: MemoryPool::new(memory),
            codec,
            scratch: Mutex::new(Scratch { folder, file: None }),
            spilled: AtomicU64::new(0),
        })
    }

    /// Where scratch files go.
    pub fn folder(&self) -> PathBuf {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).folder.clone()
    }

    /// How a block is compressed now: not for memory, where reading it back should cost nothing.
    pub fn codec(&self) -> BlockCodec {
        if self.pool.left() > SEGMENT_BYTES as u64 { BlockCodec::None } else { self.codec }
    }

    /// Takes memory from the budget, if it has as much.
    pub fn lease(&self, bytes: usize) -> Option<MemoryReservation> {
        self.pool.reserve(bytes)
    }

    /// Bytes that are collected before they are kept.
    pub fn segment_bytes(&self) -> usize {
        memory::part_of_kept(self.pool.total()).clamp(BLOCK_BYTES, SEGMENT_BYTES)
    }

    /// Bytes of the values of a key that stay in memory.
    pub fn values_bytes(&self) -> usize {
        memory::part_of_kept(self.pool.total())
    }

    /// Keeps bytes: in memory when the budget has room.
    pub fn keep(self: &Arc<Self>, bytes: &mut Vec<u8>) -> Result<Segment> {
        if let Some(reservation) = self.lease(bytes.len()) {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            let range = 0..bytes.len();
            return Ok(Segment::Memory {
                reserved: Arc::new(ReservedBytes { bytes, _reservation: reservation }),
                range,
            });
        }
        let extent = self.reserve(bytes.len() as u64)?;
        extent.file.write_all_at(bytes, extent.offset).map_err(|e| self.full_disk(e))?;
        bytes.clear();
        let range = 0..extent.bytes;
        Ok(Segment::File { extent: Arc::new(extent), range })
    }

    /// Keeps these bytes, one part after the other: in memory when the budget has room.
    pub fn keep_parts(self: &Arc<Self>, parts: &[&[u8]]) -> Result<Segment> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if let Some(reservation) = self.lease(bytes) {
            let bytes = parts.concat();
            let range = 0..bytes.len();
            return Ok(Segment::Memory {
                reserved: Arc::new(ReservedBytes { bytes, _reservation: reservation }),
                range,
            });
        }
        let extent = self.reserve(bytes as u64)?;
        let mut at = extent.offset;
        for part in parts {
            extent.file.write_all_at(part, at).map_err(|e| self.full_disk(e))?;
            at += part.len() as u64;
        }
        let range = 0..extent.bytes;
        Ok(Segment::File { extent: Arc::new(extent), range })
    }

    /// Bytes that went to scratch files so far.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    fn full_disk(&self, error: io::Error) -> Error {
        let folder = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).folder.clone();
        scratch::unwritable(&folder, error)
    }

    fn reserve(&self, bytes: u64) -> Result<FileExtent> {
        self.spilled.fetch_add(bytes, Ordering::Relaxed);
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if scratch.file.as_ref().is_none_or(|(_, used)| *used >= SCRATCH_FILE_BYTES) {
            let file = nameless_file(&scratch.folder)
                .context(|| format!("can't make a scratch file in {}", scratch.folder.display()))?;
            scratch.file = Some((Arc::new(file), 0));
        }
        match &mut scratch.file {
            Some((file, used)) => {
                let offset = *used;
                *used += bytes;
                Ok(FileExtent { file: Arc::clone(file), offset, bytes })
            }
            None => Err(Error::retry("there is no scratch file")),
        }
    }
}

impl Segment {
    /// The bytes of a piece.
    pub fn fetched(piece: Arc<FetchedPiece>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::{BlockCodec, Segment, SpillStore};

    #[test]
    fn what_does_not_fit_in_memory_goes_to_a_file_and_reads_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let spill_store = SpillStore::new(1000, dir.path().join("deep"), BlockCodec::None);
        let mut kept = Vec::new();
        for i in 0..5u8 {
            kept.push(spill_store.keep(&mut vec![i; 400]).unwrap());
        }
        assert_eq!(kept.iter().filter(|k| matches!(k, Segment::Memory { .. })).count(), 2);
        assert_eq!(spill_store.spilled(), 1200);
        for (i, k) in kept.iter().enumerate() {
            let mut buf = [9; 10];
            k.read_at(&mut buf, 390).unwrap();
            assert_eq!(buf, [i as u8; 10]);
            let slice = k.slice(300..1000).slice(1..3);
            slice.read_at(&mut buf[..2], 0).unwrap();
            assert_eq!((slice.len(), buf[1]), (2, i as u8));
        }
        assert_eq!(
            std::fs::read_dir(dir.path().join("deep")).unwrap().count(),
            0,
            "scratch files have no name"
        );
        drop(kept);
        assert!(
            matches!(spill_store.keep(&mut vec![1; 900]).unwrap(), Segment::Memory { .. }),
            "the budget is given back"
        );
    }

    /// Bytes that the file of some kept bytes takes, as it is now.
    #[cfg(target_os = "linux")]
    fn on_disk(kept: &Segment) -> u64 {
        use std::os::unix::fs::MetadataExt as _;

        let Segment::File { extent, .. } = kept else { panic!("it is in memory") };
        extent.file.sync_all().unwrap();
        extent.file.metadata().unwrap().blocks() * 512
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_scratch_file_takes_no_more_space_than_what_is_still_to_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let spill_store = SpillStore::new(0, dir.path().to_owned(), BlockCodec::None);
        let mut kept: Vec<Segment> =
            (0..8).map(|i| spill_store.keep(&mut vec![i; 1_000_001]).unwrap()).collect();
        let slice = kept[6].slice(10..20);
        let all = on_disk(&kept[7]);
        assert!(all >= 8_000_008);
        kept.drain(..7);
        assert!(on_disk(&kept[0]) < all / 8 * 3, "{} of {all}", on_disk(&kept[0]));
        let mut buf = [0; 10];
        slice.read_at(&mut buf, 0).unwrap();
        assert_eq!(buf, [6; 10], "somebody still has it");
        for at in [0, 999_991] {
            kept[0].read_at(&mut buf, at).unwrap();
            assert_eq!(buf, [7; 10], "its neighbour is not touched");
        }
    }

    #[test]
    fn only_what_goes_to_a_file_is_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let in_memory = SpillStore::new(1 << 30, dir.path().to_owned(), BlockCodec::Lz4);
        assert_eq!(in_memory.codec(), BlockCodec::None);
        let lease = in_memory.lease(1 << 30).unwrap();
        assert_eq!(in_memory.codec(), BlockCodec::Lz4);
        drop(lease);
        assert_eq!(in_memory.codec(), BlockCodec::None);
    }
}
