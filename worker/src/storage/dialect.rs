//! What a [`BucketStore`](super::BucketStore) says to a store beside what the library's traits have words for.
//!
//! In front of S3 `keys` translates it, next to the wire; a bucket that a test makes up has to understand it.

use http::{HeaderName, HeaderValue};
use object_store::list::PaginatedListOptions;
use object_store::path::Path;

use super::{keys, raw_keys, uploads};

/// The key that a name of the library's stands for.
pub fn key_of(path: &Path) -> String {
    keys::from_path(path)
}

/// The library's name of a key.
pub fn path_of(key: &str) -> Path {
    keys::to_path(key)
}

/// The condition of the request that is being made: `If-None-Match: *`, or `If-Match` and an ETag.
pub fn condition() -> Option<(HeaderName, HeaderValue)> {
    raw_keys::CONDITION.try_with(Clone::clone).ok()
}

/// Whether a listing is to be one of uploads that are neither completed nor aborted.
pub fn is_of_uploads(options: &PaginatedListOptions) -> bool {
    options.extensions.get::<uploads::AsksForUploads>().is_some()
}

/// An upload's name in such a listing.
pub fn path_of_upload(key: &str, id: &str) -> Path {
    keys::to_path(&uploads::name(key, id))
}
