//! Files without a name, and lists that go to one when they are large.

mod list;

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::list::{ListReader, ScratchList};
use crate::error::{Error, IoContext as _, Result};
use crate::machine::random;

/// A file without a name: nothing is left of it, however the process ends.
pub fn nameless_file(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("mapreduce-{}", random::name()));
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The error of a scratch file in this folder that can't be written.
pub fn unwritable(folder: &Path, error: io::Error) -> Error {
    Error::retry(format!("can't write intermediate data to a scratch file in {}", folder.display()))
        .because(error)
        .because("give the job more memory, or TMPDIR (in a pod: the scratch volume) more space")
}

/// Where a task's lists go.
#[derive(Clone, Debug)]
pub struct ScratchPlace {
    /// The folder of files.
    pub folder: Arc<Path>,
    /// Bytes of a list that stay in memory.
    pub memory: usize,
}

impl ScratchPlace {
    /// A folder, and the bytes of a list that stay in memory.
    pub fn new(folder: PathBuf, memory: usize) -> Self {
        Self { folder: folder.into(), memory }
    }
}

/// Bytes that are appended, and read from the first to the last as often as one likes.
#[derive(Debug)]
pub struct ScratchBytes {
    place: ScratchPlace,
    /// The last of them.
    memory: Vec<u8>,
    /// The first of them.
    file: Option<File>,
    written: u64,
}

impl ScratchBytes {
    /// No bytes.
    pub fn new(place: &ScratchPlace) -> Self {
        Self { place: place.clone(), memory: Vec::new(), file: None, written: 0 }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.memory.clear();
        // What a large group needed, the next one may not.
        self.memory.shrink_to(KEPT);
        (self.file, self.written) = (None, 0);
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        self.written + self.memory.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes, where they are in memory.
    pub fn in_memory(&self) -> Option<&[u8]> {
        (self.written == 0).then_some(&self.memory)
    }

    /// Forgets all, and has these bytes.
    pub fn set(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        self.append(bytes)
    }

    /// The order of these bytes and others.
    #[inline]
    pub fn compare(&self, others: &[u8]) -> Result<Ordering> {
        match self.in_memory() {
            Some(bytes) => Ok(bytes.cmp(others)),
            None => self.compare_pieces(others),
        }
    }

    #[cold]
    fn compare_pieces(&self, mut others: &[u8]) -> Result<Ordering> {
        let mut reader = self.reader(READ);
        while let Some(piece) = reader.next_piece()? {
            let (first, rest) = others.split_at(piece.len().min(others.len()));
            match piece.cmp(first) {
                Ordering::Equal => others = rest,
                different => return Ok(different),
            }
        }
        Ok(if others.is_empty() { Ordering::Equal } else { Ordering::Less })
    }

    /// Appends bytes.
    #[inline]
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.memory.len() + bytes.len() <= self.place.memory {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        self.spill(bytes)
    }

    #[cold]
    fn spill(&mut self, bytes: &[u8]) -> Result<()> {
        let folder = Arc::clone(&self.place.folder);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(
                nameless_file(&folder)
                    .context(|| format!("can't make a scratch file in {}", folder.display()))?,
            ),
        };
        let mut write = |bytes: &[u8]| file.write_all(bytes).map_err(|error| unwritable(&folder, error));
        write(&self.memory)?;
        self.written += self.memory.len() as u64;
        self.memory.clear();
        if bytes.len() < self.place.memory {
            self.memory.extend_from_slice(bytes);
        } else {
            write(bytes)?;
            self.written += bytes.len() as u64;
        }
        Ok(())
    }

    /// Reads from the first byte on, some of them at once.
    pub fn reader(&self, at_once: usize) -> ScratchReader<'_> {
        ScratchReader { bytes: self, at: 0, buffer: Vec::new(), used: 0, at_once: at_once.max(16) }
    }

    /// Fills `buf` from the byte at `at` on.
    pub fn read_at(&self, buf: &mut [u8], at: u64) -> Result<()> {
        let mut reader = ScratchReader { at, ..self.reader(buf.len()) };
        match reader.take_bytes(buf.len())? {
            Some(bytes) => {
                buf.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(Error::retry("a scratch file ends too early")),
        }
    }

    /// Calls `take` with all bytes, piece by piece.
    pub fn each_piece(&self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut reader = self.reader(READ);
        while let Some(piece) = reader.next_piece()? {
            take(piece)?;
        }
        Ok(())
    }
}

/// Memory that an empty list keeps.
const KEPT: usize = 1 << 20;
/// Bytes that are read at once, where there are few readers.
pub const READ: usize = 64 << 10;

/// Reads [`ScratchBytes`].
#[derive(Debug)]
pub struct ScratchReader<'a> {
    bytes: &'a ScratchBytes,
    at: u64,
    buffer: Vec<u8>,
    used: usize,
    at_once: usize,
}

impl ScratchReader<'_> {
    /// Has `wanted` bytes in the buffer, if there are as many left.
    fn fill(&mut self, wanted: usize) -> Result<bool> {
        if self.buffer.len() - self.used >= wanted {
            return Ok(true);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let missing = wanted - self.buffer.len();
        let left = self.bytes.len() - self.at;
        if (missing as u64) > left {
            return Ok(false);
        }
        let mut more = missing.max(self.at_once.min(usize::try_from(left).unwrap_or(usize::MAX)));
        // First what is in the file, then what is in memory.
        while more > 0 {
            let in_file = self.bytes.written.saturating_sub(self.at);
            let from = self.buffer.len();
            let step = if let (1.., Some(file)) = (in_file, &self.bytes.file) {
                let step = more.min(usize::try_from(in_file).unwrap_or(usize::MAX));
                self.buffer.resize(from + step, 0);
                let read = file.read_exact_at(&mut self.buffer[from..], self.at);
                read.context(|| "can't read a scratch file".into())?;
                step
            } else {
                let start = (self.at - self.bytes.written) as usize;
                self.buffer.extend_from_slice(&self.bytes.memory[start..start + more]);
                more
            };
            self.at += step as u64;
            more -= step;
        }
        Ok(true)
    }

    /// The next bytes, some at a time; none at the end.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        if !self.fill(1)? {
            return Ok(None);
        }
        let used = std::mem::replace(&mut self.used, self.buffer.len());
        Ok(Some(&self.buffer[used..]))
    }

    /// The next `wanted` bytes; none where there are fewer left.
    pub fn take_bytes(&mut self, wanted: usize) -> Result<Option<&[u8]>> {
        if !self.fill(wanted)? {
            return Ok(None);
        }
        let from = self.used;
        self.used += wanted;
        Ok(Some(&self.buffer[from..self.used]))
    }
}

impl Read for ScratchReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.fill(1)? {
            return Ok(0);
        }
        let bytes = buf.len().min(self.buffer.len() - self.used);
        buf[..bytes].copy_from_slice(&self.buffer[self.used..self.used + bytes]);
        self.used += bytes;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::{ScratchBytes, ScratchList, ScratchPlace};

    proptest! {
        #[test]
        fn a_list_reads_the_same_wherever_it_is(
            texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..30),
            memory in 0usize..300,
            at_once in 1usize..50,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let place = ScratchPlace::new(dir.path().to_owned(), memory);
            let (mut list, mut bytes) = (ScratchList::new(&place), ScratchBytes::new(&place));
            for _ in 0..2 {
                for text in &texts {
                    list.push(text).unwrap();
                    bytes.append(text).unwrap();
                }
                for _ in 0..2 {
                    let (mut reader, mut found) = (list.reader(at_once), Vec::new());
                    while let Some(text) = reader.next_text().unwrap() {
                        found.push(text.to_vec());
                    }
                    prop_assert_eq!(&found, &texts);
                    let (mut reader, mut appended) = (list.reader(at_once), Vec::new());
                    for text in &texts {
                        let before = appended.len();
                        prop_assert!(reader.append_text(&mut appended).unwrap());
                        prop_assert_eq!(&appended[before..], text);
                    }
                    prop_assert!(!reader.append_text(&mut appended).unwrap());
                    let (mut reader, mut pieces) = (list.reader(at_once), Vec::new());
                    while reader.each_piece(&mut |piece| { pieces.extend_from_slice(piece); Ok(()) }).unwrap() {}
                    prop_assert_eq!(&pieces, &texts.concat());
                    let mut all = Vec::new();
                    bytes.each_piece(&mut |piece| { all.extend_from_slice(piece); Ok(()) }).unwrap();
                    prop_assert_eq!(&all, &texts.concat());
                }
                prop_assert_eq!(bytes.in_memory().is_some(), texts.concat().len() <= memory);
                let all = texts.concat();
                let mut read = Vec::new();
                bytes.reader(at_once).read_to_end(&mut read).unwrap();
                prop_assert_eq!(&read, &all);
                for at in (0..all.len()).step_by(7) {
                    let mut part = vec![0; at_once.min(all.len() - at)];
                    bytes.read_at(&mut part, at as u64).unwrap();
                    prop_assert_eq!(&part, &all[at..at + part.len()]);
                }
                prop_assert!(bytes.read_at(&mut [0], all.len() as u64).is_err());
                list.push_large(&bytes).unwrap();
                prop_assert_eq!(list.bytes() as usize, 2 * all.len());
                prop_assert_eq!(list.longest(), all.len());
                for other in texts.iter().chain([&all]) {
                    prop_assert_eq!(bytes.compare(other).unwrap(), all.cmp(other));
                }
                list.clear();
                bytes.clear();
            }
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
