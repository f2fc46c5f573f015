//! What is below a folder, and what it is called.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, IoContext as _, Result};
use crate::storage::{ListedObject, Listing};

/// The folder that isn't there, or a file in the place of a folder.
pub(super) fn missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn entry(key: String, meta: &fs::Metadata) -> ListedObject {
    let version = format!("{:x}-{:x}-{:x}.{:x}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    ListedObject { key, size: meta.len(), version: Some(version) }
}

/// Follows symbolic links, to files and folders, but not in a circle.
pub(super) fn walk(
    folder: &Path,
    recursive: bool,
    above: &mut Vec<(u64, u64)>,
    found: &mut Listing,
) -> Result<()> {
    let what = || format!("can't list file://{}", folder.display());
    let meta = fs::metadata(folder).context(what)?;
    let id = (meta.dev(), meta.ino());
    if above.contains(&id) {
        return Ok(());
    }
    above.push(id);
    for item in fs::read_dir(folder).context(what)? {
        let path = item.context(what)?.path();
        let meta = match fs::metadata(&path) {
            // Neither a link to nothing is an object, nor what was removed while we looked.
            Err(e) if missing(&e) => {
                if path.is_symlink() {
                    found.dangling.push(shown(&path));
                }
                continue;
            }
            other => other.context(|| format!("can't read file://{}", path.display()))?,
        };
        if meta.is_dir() {
            if recursive {
                walk(&path, recursive, above, found)?;
            }
        } else if meta.is_file() {
            match path.to_str() {
                Some(key) => found.entries.push(entry(key.to_owned(), &meta)),
                None => found.unnamed.push(shown(&path)),
            }
        } else {
            found.streams.push(shown(&path));
        }
    }
    above.pop();
    Ok(())
}

/// All that isn't a folder below one; links are not followed.
pub(super) fn walk_unfollowed(folder: &Path, found: &mut Vec<String>) -> Result<()> {
    let what = || format!("can't list file://{}", folder.display());
    for item in fs::read_dir(folder).context(what)? {
        let item = item.context(what)?;
        let path = item.path();
        if item.file_type().context(what)?.is_dir() {
            walk_unfollowed(&path, found)?;
        } else {
            found.push(utf8(&path)?.to_owned());
        }
    }
    Ok(())
}

pub(super) fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| not_utf8(&shown(path)))
}

pub(super) fn not_utf8(shown: &str) -> Error {
    Error::permanent(format!("the name of file://{shown} is not valid UTF-8"))
        .because("rename it: objects are known by their URLs, which are text")
}

/// A path with escapes in the place of what is not valid UTF-8.
pub(super) fn shown(path: &Path) -> String {
    let chunks = path.as_os_str().as_encoded_bytes().utf8_chunks();
    chunks
        .map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii()))
        .collect::<Vec<_>>()
        .concat()
}
