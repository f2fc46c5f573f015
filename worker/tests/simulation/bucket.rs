//! What a bucket holds, as S3 has it: objects, and uploads that nobody sees until they are completed.

use std::collections::BTreeMap;
use std::sync::Arc;

use mapreduce_worker::storage::{ListedObject, PendingUpload};
use xxhash_rust::xxh3::xxh3_64;

/// An object.
#[derive(Clone, Debug)]
pub struct Object {
    pub bytes: Arc<Vec<u8>>,
    /// Who has written it, and when.
    pub by: Writer,
}

/// Who has written something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// None: it was there before.
    pub actor: Option<usize>,
    pub step: u64,
    /// It landed when its writer had given up, or was dead, or without its hearing of it.
    pub late: bool,
}

impl Writer {
    pub const BEFORE: Self = Self { actor: None, step: 0, late: false };
}

/// An upload under way.
#[derive(Clone, Debug)]
pub struct Upload {
    pub key: String,
    pub parts: BTreeMap<usize, Arc<Vec<u8>>>,
    pub by: Writer,
}

/// A request that changes something.
#[derive(Clone, Debug)]
pub enum Write {
    Put(String, Arc<Vec<u8>>),
    Create(String, Arc<Vec<u8>>),
    Delete(Vec<String>),
    /// Where the object is still of this version.
    DeleteVersion(String, Option<String>),
    Begin(String),
    Part(u64, usize, Arc<Vec<u8>>),
    /// An upload of so many parts; true where it may replace an object.
    Complete(String, u64, usize, bool),
    Abort(u64),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// There is an object of this name.
    Exists,
    /// The upload's number.
    Begun(u64),
    NoSuchUpload,
}

/// A change of an object that others can see.
#[derive(Debug)]
pub struct Change {
    pub key: String,
    pub before: Option<Object>,
    pub after: Option<Object>,
}

#[derive(Debug, Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<u64, Upload>,
    next_upload: u64,
}

impl Bucket {
    /// Does what a request asks for. What has changed is added to `changes`.
    pub fn apply(&mut self, write: &Write, by: Writer, changes: &mut Vec<Change>) -> Answer {
        match write {
            Write::Create(key, _) if self.objects.contains_key(key) => return Answer::Exists,
            Write::Put(key, bytes) | Write::Create(key, bytes) => self.set(key, bytes, by, changes),
            Write::Delete(keys) => {
                for key in keys {
                    if let Some(before) = self.objects.remove(key) {
                        changes.push(Change { key: key.clone(), before: Some(before), after: None });
                    }
                }
            }
            Write::DeleteVersion(key, version) => {
                if self.head(key).is_some_and(|there| there.version != *version) {
                    return Answer::Exists;
                }
                return self.apply(&Write::Delete(vec![key.clone()]), by, changes);
            }
            Write::Begin(key) => {
                self.next_upload += 1;
                let upload = Upload { key: key.clone(), parts: BTreeMap::new(), by };
                self.uploads.insert(self.next_upload, upload);
                return Answer::Begun(self.next_upload);
            }
            Write::Part(id, number, bytes) => {
                let Some(upload) = self.uploads.get_mut(id) else { return Answer::NoSuchUpload };
                upload.parts.insert(*number, Arc::clone(bytes));
            }
            Write::Complete(key, id, _, false)
                if self.objects.contains_key(key) && self.uploads.contains_key(id) =>
            {
                return Answer::Exists;
            }
            Write::Complete(key, id, parts, _) => {
                let whole = self.uploads.get(id).is_some_and(|u| u.key == *key && u.parts.len() >= *parts);
                if !whole {
                    return Answer::NoSuchUpload;
                }
                let upload = self.uploads.remove(id).unwrap();
                let bytes = upload.parts.values().flat_map(|part| part.iter().copied()).collect();
                self.set(key, &Arc::new(bytes), by, changes);
            }
            Write::Abort(id) => {
                if self.uploads.remove(id).is_none() {
                    return Answer::NoSuchUpload;
                }
            }
        }
        Answer::Done
    }

    fn set(&mut self, key: &str, bytes: &Arc<Vec<u8>>, by: Writer, changes: &mut Vec<Change>) {
        let after = Object { bytes: Arc::clone(bytes), by };
        let before = self.objects.insert(key.to_owned(), after.clone());
        changes.push(Change { key: key.to_owned(), before, after: Some(after) });
    }

    pub fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.objects.get(key).map(|object| &object.bytes[..])
    }

    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Object)> {
        self.objects.range(prefix.to_owned()..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub fn list(&self, prefix: &str, recursive: bool) -> Vec<ListedObject> {
        self.below(prefix)
            .filter(|(key, _)| recursive || !key[prefix.len()..].contains('/'))
            // As the library's: folder markers are not objects.
            .filter(|(key, object)| !(key.ends_with('/') && object.bytes.is_empty()))
            .map(|(key, object)| entry(key, object))
            .collect()
    }

    pub fn uploads_below(&self, prefix: &str) -> Vec<PendingUpload> {
        let below = self.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
        below.map(|(id, upload)| PendingUpload { key: upload.key.clone(), id: id.to_string() }).collect()
    }

    pub fn head(&self, key: &str) -> Option<ListedObject> {
        self.objects.get(key).map(|object| entry(key, object))
    }
}

/// As in S3 the ETag is made of the content: the same bytes again change nothing.
fn entry(key: &str, object: &Object) -> ListedObject {
    let version = Some(format!("{:x}", xxh3_64(&object.bytes)));
    ListedObject { key: key.to_owned(), size: object.bytes.len() as u64, version }
}
