//! Listing a bucket: its objects, and uploads under way.

use futures::TryStreamExt as _;
use object_store::ObjectMeta;
use object_store::list::PaginatedListOptions;

use super::{BucketStore, S3, UnmetRequest};
use crate::error::Result;
use crate::storage::explain::is_unknown_request;
use crate::storage::outage::Unmet;
use crate::storage::uploads::{self, AsksForUploads};
use crate::storage::{ListedObject, PendingUpload, keys};

impl BucketStore {
    /// The objects below a prefix, by name.
    pub(super) fn entries(&self, prefix: &str, recursive: bool) -> Result<Vec<ListedObject>> {
        let metas = self.wait(async {
            self.metas(prefix, recursive).await.map_err(|e| self.error("list", prefix, &e))
        })?;
        let mut found: Vec<ListedObject> = metas
            .into_iter()
            .map(|meta| ListedObject {
                key: keys::from_path(&meta.location),
                size: meta.size,
                version: meta.e_tag,
            })
            // Empty objects named as folders are what consoles make of a folder: none of them is data.
            .filter(|entry| entry.key.starts_with(prefix) && !(entry.size == 0 && entry.key.ends_with('/')))
            .collect();
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        // What changes while it is listed may be on two pages.
        found.dedup_by(|a, b| a.key == b.key);
        Ok(found)
    }

    /// What begins with a prefix; of the first level alone, or of all.
    async fn metas(&self, prefix: &str, recursive: bool) -> Result<Vec<ObjectMeta>, UnmetRequest> {
        let Some(s3) = &self.s3 else {
            self.requests.write();
            let mut found: Vec<ObjectMeta> = self.outlast(|| self.objects.list(None).try_collect()).await?;
            found.retain(|meta| {
                let key = keys::from_path(&meta.location);
                key.strip_prefix(prefix).is_some_and(|below| recursive || !below.contains('/'))
            });
            return Ok(found);
        };
        let delimiter = (!recursive).then_some("/".into());
        self.pages(s3, prefix, PaginatedListOptions { delimiter, ..PaginatedListOptions::default() }).await
    }

    /// All pages of a listing.
    async fn pages(
        &self,
        s3: &S3,
        prefix: &str,
        mut options: PaginatedListOptions,
    ) -> Result<Vec<ObjectMeta>, UnmetRequest> {
        let mut found = Vec::new();
        loop {
            self.requests.write();
            let prefix = Some(prefix).filter(|prefix| !prefix.is_empty());
            let page = self.outlast(|| s3.pages.list_paginated(prefix, options.clone())).await?;
            found.extend(page.result.objects);
            if page.page_token.is_some() && page.page_token == options.page_token {
                let source = "the server says that its listing goes on where it was".into();
                return Err(Unmet::Failed(object_store::Error::Generic { store: "S3", source }));
            }
            options.page_token = page.page_token;
            if options.page_token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Uploads below a prefix that are neither completed nor aborted, where the server lists them.
    pub(super) fn pending(&self, prefix: &str) -> Result<Option<Vec<PendingUpload>>> {
        let Some(s3) = &self.s3 else { return Ok(None) };
        let mut options = PaginatedListOptions::default();
        options.extensions.insert(AsksForUploads);
        let listed = self.wait(async { Ok(self.pages(s3, prefix, options).await) })?;
        let metas = match listed {
            Ok(metas) => metas,
            Err(e) if e.failure().is_some_and(is_unknown_request) => {
                let error = self.error("list uploads below", prefix, &e);
                tracing::debug!(%error, causes = error.causes_text(), "Uploads are not listed.");
                return Ok(None);
            }
            Err(e) => return Err(self.error("list uploads below", prefix, &e)),
        };
        let mut found: Vec<PendingUpload> = metas
            .into_iter()
            .filter_map(|meta| {
                let name = keys::from_path(&meta.location);
                let (key, id) = uploads::key_and_id(&name)?;
                Some(PendingUpload { key: key.to_owned(), id: id.to_owned() })
            })
            .filter(|upload| upload.key.starts_with(prefix))
            .collect();
        found.sort_unstable();
        Ok(Some(found))
    }
}
