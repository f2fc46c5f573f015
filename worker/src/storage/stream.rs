//! FIFOs and devices: read once, from the beginning on, by the process that has found them.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use super::ListedObject;
use crate::error::{Error, IoContext as _, Result};

/// The version of what has none.
const STREAM: &str = "stream";

/// Those that this process has found and not read yet.
static FOUND: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// Whether an entry's version says that it is a stream.
pub fn is_stream(version: Option<&str>) -> bool {
    version == Some(STREAM)
}

/// A stream as an object: nobody knows its size, but that there is something to read.
pub(super) fn entry(key: &str) -> ListedObject {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(key.to_owned());
    ListedObject { key: key.to_owned(), size: 1, version: Some(STREAM.to_owned()) }
}

/// All that comes of a stream.
pub(super) fn open(key: &str) -> Result<Box<dyn Read + Send>> {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if !found.get_or_insert_default().remove(key) {
        return Err(Error::permanent(format!("file://{key} is a stream, which can be read only once"))
            .because("only a local run reads it, in one attempt: write it to a file and read that"));
    }
    drop(found);
    Ok(Box::new(File::open(key).context(|| format!("can't read file://{key}"))?))
}
