//! Where intermediate data is kept: memory while there is some, then scratch files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, IoContext as _, Result};

/// Memory and scratch space that the tasks of one process share.
#[derive(Debug)]
pub struct Space {
    left: AtomicI64,
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
pub enum Kept {
    /// In memory; given back to the budget when the last user is gone.
    Memory {
        /// The memory.
        loan: Arc<Loan>,
        /// Where in it the bytes are.
        range: Range<usize>,
    },
    /// In a scratch file.
    File {
        /// The file. It has no name any more: the space is free when the last user is gone.
        file: Arc<File>,
        /// Where the bytes begin.
        offset: u64,
        /// Their number.
        bytes: u64,
    },
}

/// Bytes in memory that count against a budget.
#[derive(Debug)]
pub struct Loan {
    bytes: Vec<u8>,
    _lease: Lease,
}

impl Loan {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Memory that was taken from a budget; it is given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    bytes: i64,
    space: Arc<Space>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.space.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// A new scratch file is begun after this many bytes, so that the space of what has been read is freed.
const SCRATCH_FILE_BYTES: u64 = 256 << 20;

impl Space {
    /// A budget of `memory` bytes, and scratch files in `folder`.
    pub fn new(memory: u64, folder: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicI64::new(i64::try_from(memory).unwrap_or(i64::MAX)),
            scratch: Mutex::new(Scratch { folder, file: None }),
            spilled: AtomicU64::new(0),
        })
    }

    /// Where scratch files go.
    pub fn folder(&self) -> PathBuf {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).folder.clone()
    }

    /// Takes memory from the budget, if it has as much.
    pub fn lease(self: &Arc<Self>, bytes: usize) -> Option<Lease> {
        let bytes = bytes as i64;
        let left = self.left.fetch_sub(bytes, Ordering::Relaxed);
        // What could not be had is given back by the drop.
        let lease = Lease { bytes, space: Arc::clone(self) };
        (left >= bytes).then_some(lease)
    }

    /// Keeps bytes: in memory when the budget has room.
    pub fn keep(self: &Arc<Self>, bytes: &mut Vec<u8>) -> Result<Kept> {
        if let Some(lease) = self.lease(bytes.len()) {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            let range = 0..bytes.len();
            return Ok(Kept::Memory { loan: Arc::new(Loan { bytes, _lease: lease }), range });
        }
        let (file, offset) = self.reserve(bytes.len() as u64)?;
        file.write_all_at(bytes, offset).map_err(|e| self.full_disk(&e))?;
        let kept = Kept::File { file, offset, bytes: bytes.len() as u64 };
        bytes.clear();
        Ok(kept)
    }

    /// Bytes that went to scratch files so far.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    fn full_disk(&self, error: &io::Error) -> Error {
        let folder = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).folder.clone();
        Error::retry(format!("can't write intermediate data to a scratch file in {}", folder.display()))
            .because(error)
            .because("give the job more memory, or TMPDIR (in a pod: the scratch volume) more space")
    }

    fn reserve(&self, bytes: u64) -> Result<(Arc<File>, u64)> {
        self.spilled.fetch_add(bytes, Ordering::Relaxed);
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if scratch.file.as_ref().is_none_or(|(_, used)| *used >= SCRATCH_FILE_BYTES) {
            let file = nameless(&scratch.folder)
                .context(|| format!("can't make a scratch file in {}", scratch.folder.display()))?;
            scratch.file = Some((Arc::new(file), 0));
        }
        match &mut scratch.file {
            Some((file, used)) => {
                let offset = *used;
                *used += bytes;
                Ok((Arc::clone(file), offset))
            }
            None => Err(Error::retry("there is no scratch file")),
        }
    }
}

/// A file without a name: nothing is left of it, however the process ends.
fn nameless(folder: &std::path::Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("mapreduce-{}", uuid::Uuid::new_v4()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

impl Kept {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory { range, .. } => range.len() as u64,
            Self::File { bytes, .. } => *bytes,
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
            Self::Memory { loan, range } => {
                let range = range.start + from as usize..range.start + to as usize;
                Self::Memory { loan: Arc::clone(loan), range }
            }
            Self::File { file, offset, .. } => {
                Self::File { file: Arc::clone(file), offset: offset + from, bytes: to - from }
            }
        }
    }

    /// The bytes, if they are in memory.
    #[inline]
    pub fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory { loan, range } => loan.bytes().get(range.clone()),
            Self::File { .. } => None,
        }
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
            Self::File { file, offset, .. } => {
                file.read_exact_at(buf, offset + at).context(|| "can't read a scratch file".into())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Space};

    #[test]
    fn what_does_not_fit_in_memory_goes_to_a_file_and_reads_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::new(1000, dir.path().join("deep"));
        let mut kept = Vec::new();
        for i in 0..5u8 {
            kept.push(space.keep(&mut vec![i; 400]).unwrap());
        }
        assert_eq!(kept.iter().filter(|k| matches!(k, Kept::Memory { .. })).count(), 2);
        assert_eq!(space.spilled(), 1200);
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
            matches!(space.keep(&mut vec![1; 900]).unwrap(), Kept::Memory { .. }),
            "the budget is given back"
        );
    }
}
