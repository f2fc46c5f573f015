//! Making an upload an object.

use std::time::Duration;

use http::HeaderValue;
use http::header::IF_NONE_MATCH;
use object_store::multipart::PartId;

use super::{BucketStore, UnmetRequest, is_missing};
use crate::error::{Error, Result};
use crate::machine::clock;
use crate::storage::explain::is_unknown_request;
use crate::storage::raw_keys::CONDITION;
use crate::storage::{Created, Staged};

/// Completions that S3 answers with 409, "try again", at most.
const CONFLICTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(20);

impl BucketStore {
    /// Over what is there.
    pub(super) fn complete_over(&self, key: &str, staged: &Staged) -> Result<Created> {
        match self.try_complete(key, staged, false)? {
            Ok(()) => Ok(Created::New),
            // An upload that is gone while its object is there may have been completed before.
            Err(e) => match self.look(key) {
                Ok(Some(_)) if is_missing(&e) => Ok(Created::Exists),
                _ => Err(self.error("write", key, &e)),
            },
        }
    }

    /// Where no object is to be replaced.
    pub(super) fn complete_if_new(&self, key: &str, staged: &Staged) -> Result<Created> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..CONFLICTS {
            let error = match self.try_complete(key, staged, true)? {
                Ok(()) => return Ok(Created::New),
                Err(e) if e.failure().is_some_and(is_unknown_request) => {
                    return self.complete_over(key, staged);
                }
                Err(e) => e,
            };
            // Refused, for an object is there or is being written; or the upload is gone. What is there tells.
            match self.look(key) {
                Ok(Some(_)) if is_missing(&error) || is_taken(&error) => return Ok(Created::Exists),
                _ if is_taken(&error) => {}
                _ => return Err(self.error("write", key, &error)),
            }
            clock::sleep(pause);
            pause *= 2;
        }
        Err(Error::retry(format!("can't write {}{key}", self.base))
            .because("the store says again and again that somebody else is writing it"))
    }

    /// Completes an upload; where there is no object yet, if the server knows that condition.
    fn try_complete(&self, key: &str, staged: &Staged, only_new: bool) -> Result<Result<(), UnmetRequest>> {
        let Staged::Upload { id, parts } = staged else { return Err(self.wrong_kind(key)) };
        let path = self.path(key)?;
        let parts: Vec<PartId> =
            parts.iter().map(|content_id| PartId { content_id: content_id.clone() }).collect();
        self.requests.write();
        let complete = || async {
            let completed = self.uploads.complete_multipart(&path, id, parts.clone());
            if only_new {
                CONDITION.scope((IF_NONE_MATCH, HeaderValue::from_static("*")), completed).await
            } else {
                completed.await
            }
        };
        Ok(self.finish(complete).map(drop))
    }

    pub(super) fn wrong_kind(&self, key: &str) -> Error {
        Error::permanent(format!(
            "the commit record of {}{key} was not written by this kind of store",
            self.base
        ))
    }
}

/// Whether a condition was refused: with 412, or with S3's 409.
pub(super) fn is_taken(unmet: &UnmetRequest) -> bool {
    use object_store::Error::{AlreadyExists, Precondition};
    matches!(unmet.failure(), Some(Precondition { .. } | AlreadyExists { .. }))
}
