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
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::block::{BLOCK_BYTES, BlockCodec};
use super::fetched::FetchedPiece;
use super::segment::{FetchedSegment, FileExtent, ReservedBytes, Segment};
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

/// A new scratch file is begun after this many bytes, so that the space of what has been read is freed where
/// that can only be done file by file.
const SCRATCH_FILE_BYTES: u64 = 256 << 20;
/// Bytes that are collected before they are handed to the store, if it is not small.
pub const SEGMENT_BYTES: usize = 4 << 20;

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

    /// A segment of so many bytes, which are kept when `read` has given them.
    pub fn fetched(
        self: &Arc<Self>,
        bytes: u64,
        read: impl Fn() -> Result<Vec<u8>> + Send + Sync + 'static,
    ) -> FetchedSegment {
        let spill_store = Arc::clone(self);
        FetchedPiece::new(bytes, move || {
            let mut read = read()?;
            if read.len() as u64 != bytes {
                return Err(Error::retry("intermediate data ends too early"));
            }
            spill_store.keep(&mut read)
        })
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
