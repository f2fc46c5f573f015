//! The working folder of a process: its own, with the files that the manifest gives it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, IoContext as _, Result};
use crate::machine::process::ProcessIdentity;
use crate::machine::random;

/// Held while files are written and while processes are started. A process that is started while
/// a file is open for writing has it open too until it becomes its program; and a program that
/// somebody has open for writing can't be executed.
static STARTING: Mutex<()> = Mutex::new(());

/// Runs `work` while nobody writes programs or starts processes.
pub(super) fn exclusively<T>(work: impl FnOnce() -> T) -> T {
    let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// What the names of folders begin with; the process follows that made them.
const PREFIX: &str = "mapreduce-function-";

/// Removes the folders below `scratch` of processes that have ended: they were killed.
pub(crate) fn remove_of_dead(scratch: &Path) {
    let Ok(found) = fs::read_dir(scratch) else { return };
    for folder in found.flatten() {
        let name = folder.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('.'));
        // Another user's can't be removed, and is not ours to tell of.
        if owner.is_some_and(|(process, _)| ProcessIdentity::is_dead_by_name(process)) {
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

/// A folder that is removed with all that is in it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new folder below `scratch`.
    pub(super) fn new(scratch: &Path, files: &BTreeMap<String, String>) -> Result<Self> {
        let process =
            ProcessIdentity::this().map_or_else(|| "unknown".to_owned(), |process| process.to_name());
        let path = scratch.join(format!("{PREFIX}{process}.{}", random::name()));
        fs::create_dir_all(&path).context(|| format!("can't make the folder {}", path.display()))?;
        let folder = Self(path);
        exclusively(|| files.iter().try_for_each(|(name, text)| folder.write(name, text)))?;
        Ok(folder)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        use std::io::Write as _;
        let path = self.0.join(name);
        // Executable, as Hadoop makes the files of a streaming job.
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.context(|| format!("can't write {}", path.display()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A process of the group may still be dying and write; its folder is empty the second time.
        if fs::remove_dir_all(&self.0).is_err() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Checks the names of a manifest's files: each is a file of the folder itself.
pub(crate) fn check_names(files: &BTreeMap<String, String>) -> Result<()> {
    match files.keys().find(|name| {
        name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || [".", ".."].contains(&&***name)
    }) {
        None => Ok(()),
        Some(name) => Err(Error::usage(format!("files: `{name}` is not a file name: it has no folders"))),
    }
}
