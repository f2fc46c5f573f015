//! An upload of more than 10,000 parts of 8 MiB: parts grow, so that there are fewer.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use mapreduce_worker::storage::{BucketStore, Staged, Store};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Extensions, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio_util::sync::CancellationToken;

/// A bucket that keeps the sizes of parts in the place of their bytes.
#[derive(Debug, Default)]
struct Sizes {
    objects: InMemory,
    parts: Mutex<Vec<(usize, usize)>>,
    completed: AtomicUsize,
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sizes")
    }
}

#[async_trait]
impl MultipartStore for Sizes {
    async fn create_multipart(&self, _: &Path) -> Result<MultipartId> {
        Ok("upload".into())
    }

    async fn put_part(&self, _: &Path, _: &MultipartId, number: usize, data: PutPayload) -> Result<PartId> {
        self.parts.lock().unwrap().push((number, data.content_length()));
        Ok(PartId { content_id: number.to_string() })
    }

    async fn complete_multipart(&self, _: &Path, _: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.completed.store(parts.len(), Ordering::Relaxed);
        Ok(PutResult { e_tag: None, version: None, extensions: Extensions::default() })
    }

    async fn abort_multipart(&self, _: &Path, _: &MultipartId) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for Sizes {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.objects.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(key, options).await
    }

    async fn get_ranges(&self, key: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.objects.get_ranges(key, ranges).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

/// What S3 takes.
const MAX_PARTS: usize = 10_000;
const PART_BYTES: Range<usize> = 5 << 20..(5 << 30) + 1;

/// Uploads so many pieces of 8 MiB; the sizes of its parts, by number.
fn uploaded(pieces: usize) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (sizes, cancel) = (Arc::new(Sizes::default()), CancellationToken::new());
    let store = BucketStore::new("s3://b/".into(), Arc::clone(&sizes), runtime.handle().clone(), cancel);
    let piece = vec![7; 8 << 20];
    let mut writer = store.stage("out/part-00000", "").unwrap();
    (0..pieces).for_each(|_| writer.write(&piece).unwrap());
    writer.write(b"the end").unwrap();
    let staged = writer.finish().unwrap();
    store.complete("out/part-00000", &staged).unwrap();

    let mut parts = sizes.parts.lock().unwrap().clone();
    parts.sort_unstable();
    assert!(parts.iter().map(|part| part.0).eq(0..parts.len()), "parts have the numbers from 0 on");
    assert_eq!(parts.iter().map(|part| part.1).sum::<usize>(), pieces * piece.len() + 7);
    let Staged::Upload { parts: named, .. } = staged else { panic!("{staged:?}") };
    assert_eq!((named.len(), sizes.completed.load(Ordering::Relaxed)), (parts.len(), parts.len()));
    let parts: Vec<usize> = parts.into_iter().map(|part| part.1).collect();
    let (last, others) = parts.split_last().unwrap();
    assert!(others.iter().all(|part| PART_BYTES.contains(part)) && *last < PART_BYTES.end);
    parts
}

/// Sizes double often enough for the largest object that there may be: a test beside the sizes themselves says so.
#[test]
fn the_parts_of_an_upload_grow() {
    let parts = uploaded(900);
    assert!(parts.len() < 860, "{} parts", parts.len());
    assert_eq!((parts[0], parts[parts.len() - 2]), (8 << 20, 16 << 20));
}

#[test]
#[ignore = "it copies 78 GiB, which takes a minute"]
fn an_object_larger_than_ten_thousand_parts_of_the_first_size_is_written() {
    let parts = uploaded(10_001);
    assert!(parts.len() < MAX_PARTS, "{} parts", parts.len());
}
