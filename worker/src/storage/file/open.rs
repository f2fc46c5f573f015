//! Files that are being read, or written before they have their names.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::PathBuf;

use super::FileStore;
use super::walk::entry;
use crate::error::{Error, IoContext as _, Result};
use crate::storage::{Staged, StagedWriter, Store as _};

/// A reader that ends with an error when the file has changed or become shorter meanwhile.
pub(super) struct FileReader {
    pub(super) file: File,
    pub(super) left: u64,
    pub(super) unchanged: Unchanged,
}

impl Read for FileReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let got = self.file.read(&mut buf[..most])?;
        self.left -= got as u64;
        if got == 0 || self.left == 0 {
            self.unchanged.check(&self.file)?;
            if got == 0 {
                let key = &self.unchanged.key;
                return Err(Error::permanent(format!("file://{key} became shorter while it was read")).into());
            }
        }
        Ok(got)
    }
}

pub(super) struct Unchanged {
    pub(super) key: String,
    pub(super) version: Option<String>,
}

impl Unchanged {
    pub(super) fn check(&self, file: &File) -> Result<()> {
        let meta = file.metadata().context(|| format!("can't read file://{}", self.key))?;
        if self.version.is_some() && entry(String::new(), &meta).version != self.version {
            return Err(Error::permanent(format!(
                "file://{} changed while the job was reading it: run the job again",
                self.key
            )));
        }
        Ok(())
    }
}

/// A file that takes its name when it is completed.
pub(super) struct StagedFile {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) key: String,
    pub(super) finished: bool,
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl StagedWriter for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).context(|| format!("can't write file://{}", self.path.display()))
    }

    fn finish(mut self: Box<Self>) -> Result<Staged> {
        self.finished = true;
        Ok(Staged::File { path: self.path.to_string_lossy().into_owned() })
    }

    fn publish(self: Box<Self>) -> Result<()> {
        let key = self.key.clone();
        let staged = self.finish()?;
        FileStore.complete(&key, &staged).map(drop)
    }
}
