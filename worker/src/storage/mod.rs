//! Object stores and local files behind one small, blocking interface.
//!
//! ```text
//!  Stores ── "s3://b/k" ──> Location { store: Arc<dyn Store>, key: "k", base: "s3://b/" }
//!                                          │
//!                     ┌───────────────────┬────────────────┴───────────────┐
//!            FileStore (std::fs)   BucketStore (object_store)   HttpStore (web servers, read only)
//! ```
//!
//! Tasks are CPU-bound and run on plain threads, so the interface blocks; the object stores do
//! their waiting on a tokio runtime of their own. Besides reading and writing whole objects, a store
//! offers the two things that the commit protocol stands on:
//!
//! * [`Store::create`] writes an object only where there is none, and says who was first;
//! * [`Store::stage`] writes data that nobody can see until somebody [completes](Store::complete)
//!   it — not necessarily the process that wrote it: the [`Staged`] token can be kept in a record.

mod address;
pub(crate) mod authorities;
mod away;
mod buckets;
pub mod dialect;
mod explain;
mod file;
mod http;
mod idle;
mod keys;
mod object;
pub mod once;
mod outage;
mod profile;
mod raw_keys;
mod requests;
pub(crate) mod s3;
mod stream;
mod tls;
mod unreached;
mod uploads;
mod url;
mod wait;

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::address::{Address, GLOB_SIGNS, Scheme, parse_url, parse_writable_url};
pub use self::away::AwayStores;
pub use self::buckets::s3_buckets;
pub use self::file::FileStore;
pub use self::object::{BucketStore, PART_BYTES, RequestSizes};
pub use self::outage::Patience;
pub use self::requests::{RequestCounter, RequestCounts};
pub use self::stream::is_stream;
pub(crate) use self::url::Counter;
pub use self::url::{Location, Stores};
pub use self::wait::{READ_BYTES, runtime};
use crate::error::Result;

/// An object that a listing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The name in the store: below the bucket, or an absolute path.
    pub key: String,
    /// The bytes.
    pub size: u64,
    /// What changes when the object does: an ETag, or a file's number, size and time.
    pub version: Option<String>,
}

/// What a listing finds for somebody who reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects, by name.
    pub entries: Vec<ListedObject>,
    /// Files whose names are not valid UTF-8, shown with escapes: nothing can be asked of them.
    pub unnamed: Vec<String>,
    /// Links that lead nowhere.
    pub dangling: Vec<String>,
    /// FIFOs, devices and sockets: they are read where they are named, and not found by chance.
    pub streams: Vec<String>,
}

/// What is below a prefix, as a deletion finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Objects, and links themselves in the place of what they lead to, by name.
    pub keys: Vec<String>,
    /// Where the prefix itself is a link: what it says.
    pub link_to: Option<String>,
}

/// Who was first to write an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// This call.
    New,
    /// Somebody before: nothing was changed.
    Exists,
}

/// Data that is stored but not visible, until [`Store::complete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Staged {
    /// A multipart upload: its id and the ids of its parts.
    Upload {
        /// The upload's id.
        id: String,
        /// The parts' ids, in order.
        parts: Vec<String>,
    },
    /// A file on the destination's own file system.
    File {
        /// The path.
        path: String,
    },
}

/// Staged data that a listing found: whose it is can't be seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PendingUpload {
    /// What it would become.
    pub key: String,
    /// The upload's id.
    pub id: String,
}

/// A part that is written but not visible: what a task's commit record says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StagedPart {
    /// `part-00000`
    pub name: String,
    /// Where its bytes are.
    pub staged: Staged,
    /// Their number.
    pub bytes: u64,
    /// Number of pairs.
    pub records: u64,
    /// XXH3 of its bytes.
    pub checksum: u64,
}

/// A writer whose bytes nobody sees until the token that it ends with is completed. Dropped
/// before its end, it removes what it has stored.
pub trait StagedWriter: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// Ends the data.
    fn finish(self: Box<Self>) -> Result<Staged>;
    /// Ends the data and makes it visible at once, in one request where it is small.
    fn publish(self: Box<Self>) -> Result<()>;
}

/// An object store or a file system. All calls block.
pub trait Store: fmt::Debug + Send + Sync {
    /// The objects below a prefix, which is empty or ends in `/`; all levels, or the first.
    fn list(&self, prefix: &str, recursive: bool) -> Result<Vec<ListedObject>>;
    /// Likewise, with what can't be read.
    fn survey(&self, prefix: &str, recursive: bool) -> Result<Listing> {
        Ok(Listing { entries: self.list(prefix, recursive)?, ..Listing::default() })
    }
    /// What is below a prefix, all levels, no link followed.
    fn contents(&self, prefix: &str) -> Result<Contents> {
        let keys = self.list(prefix, true)?.into_iter().map(|entry| entry.key).collect();
        Ok(Contents { keys, link_to: None })
    }
    /// One object, if it is there.
    fn head(&self, key: &str) -> Result<Option<ListedObject>>;
    /// Whether a range of an object can be read without all that is before it.
    fn has_ranges(&self, _key: &str) -> Result<bool> {
        Ok(true)
    }
    /// A stream over a range of an object of this version; an error when the object has changed.
    fn open(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>>;
    /// A range of an object, whole.
    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>>;
    /// A whole object, if it is there.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;
    /// The first bytes of an object, at most so many, if it is there.
    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let whole = self.get(key)?;
        Ok(whole.map(|mut bytes| {
            bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
            bytes
        }))
    }
    /// Writes an object, replacing what was there.
    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()>;
    /// Writes an object where there is none.
    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created>;
    /// Removes objects; those that aren't there are no error.
    fn delete(&self, keys: &[String]) -> Result<()>;
    /// Removes an object where it is still of this version; says whether it is gone. A store that knows no such
    /// condition looks before.
    fn delete_version(&self, entry: &ListedObject) -> Result<bool> {
        match self.head(&entry.key)? {
            Some(there) if there.version != entry.version => Ok(false),
            Some(_) => self.delete(std::slice::from_ref(&entry.key)).map(|()| true),
            None => Ok(true),
        }
    }
    /// Begins data that will become the object `key`. `work` is a prefix, in this store, where
    /// stores without invisible uploads may keep it until then.
    fn stage(&self, key: &str, work: &str) -> Result<Box<dyn StagedWriter>>;
    /// Makes staged data the object `key`, over what is there. Says [`Created::Exists`] where the staged data is
    /// gone and the object there: perhaps it was completed before.
    fn complete(&self, key: &str, staged: &Staged) -> Result<Created>;
    /// The same where no object is to be replaced. A store that can tell leaves one that is there, says
    /// [`Created::Exists`], and keeps the staged data.
    fn complete_new(&self, key: &str, staged: &Staged) -> Result<Created> {
        self.complete(key, staged)
    }
    /// Data below a prefix that was staged, by whomever, and neither completed nor aborted. None where a store has
    /// no such list, or doesn't show it.
    fn uploads(&self, prefix: &str) -> Result<Option<Vec<PendingUpload>>> {
        let _ = prefix;
        Ok(None)
    }
    /// Removes staged data that will never be completed.
    fn abort(&self, key: &str, staged: &Staged) -> Result<()>;
    /// The same store, which adds to these numbers; none where requests cost nothing.
    fn counting(&self, requests: &Arc<RequestCounter>) -> Option<SharedStore> {
        let _ = requests;
        None
    }
    /// Removes these objects below a prefix, and the folders there that become empty.
    fn delete_below(&self, prefix: &str, keys: &[String]) -> Result<()> {
        let _ = prefix;
        self.delete(keys)
    }
    /// The same store for what an interrupted job does last; none where nothing interrupts it.
    fn uninterrupted(&self) -> Option<SharedStore> {
        None
    }
    /// Removes everything below a prefix, folders too where the store has them.
    fn delete_prefix(&self, prefix: &str) -> Result<()> {
        let keys: Vec<String> = self.list(prefix, true)?.into_iter().map(|entry| entry.key).collect();
        self.delete(&keys)
    }
}

/// A store that several tasks share.
pub type SharedStore = Arc<dyn Store>;

#[cfg(test)]
mod tests;
