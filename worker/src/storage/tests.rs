//! What every store has to do, whatever is behind it.

use std::io::Read as _;
use std::sync::Arc;

use object_store::memory::InMemory;
use tokio_util::sync::CancellationToken;

use super::{BucketStore, Created, FileStore, ListedObject, RequestCounts, Store};
use crate::error::{ErrorKind, Result};

/// A store, what its keys begin with, and what has to live as long.
struct Case {
    store: Arc<dyn Store>,
    prefix: String,
    cancel: CancellationToken,
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

fn cases() -> [Case; 2] {
    ["file", "object"].map(|kind| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cancel = CancellationToken::new();
        let (store, prefix): (Arc<dyn Store>, _) = if kind == "file" {
            (Arc::new(FileStore), format!("{}/", dir.path().display()))
        } else {
            let memory = Arc::new(InMemory::new());
            let base = "s3://memory/".to_owned();
            (
                Arc::new(BucketStore::new(base, memory, runtime.handle().clone(), cancel.clone())),
                String::new(),
            )
        };
        Case { store, prefix, cancel, _runtime: runtime, _dir: dir }
    })
}

impl Case {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn stream(&self, entry: &ListedObject, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.store.open(entry, range)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn names(&self, prefix: &str, recursive: bool) -> Vec<String> {
        let found = self.store.list(&self.key(prefix), recursive).unwrap();
        found.into_iter().map(|entry| entry.key[self.prefix.len()..].to_owned()).collect()
    }
}

#[test]
fn what_is_put_is_got_listed_and_deleted() {
    for case in cases() {
        for name in ["d/b", "d/a", "d/e/c", "x"] {
            case.store.put(&case.key(name), name.as_bytes().to_vec()).unwrap();
        }
        assert_eq!(case.store.get(&case.key("d/e/c")).unwrap().unwrap(), b"d/e/c");
        assert_eq!(case.store.get(&case.key("none")).unwrap(), None);
        assert_eq!(case.store.read(&case.key("d/e/c"), 2..4).unwrap(), b"e/");
        assert_eq!(case.store.head(&case.key("x")).unwrap().unwrap().size, 1);
        assert!(case.store.head(&case.key("d")).unwrap().is_none(), "a folder is not an object");
        assert_eq!(case.names("d/", true), ["d/a", "d/b", "d/e/c"], "{:?}", case.store);
        assert_eq!(case.names("d/", false), ["d/a", "d/b"]);
        assert!(case.names("none/", true).is_empty());
        case.store.delete(&[case.key("x"), case.key("none")]).unwrap();
        case.store.delete_prefix(&case.key("d/")).unwrap();
        assert!(case.names("", true).is_empty());
    }
}

#[test]
fn of_many_who_create_an_object_one_is_the_first() {
    for case in cases() {
        let key = case.key("record");
        let new = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16u8)
                .map(|i| {
                    scope.spawn({
                        let (case, key) = (&case, &key);
                        move || case.store.create(key, vec![i]).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).filter(|created| *created == Created::New).count()
        });
        assert_eq!(new, 1, "{:?}", case.store);
        assert_eq!(case.store.get(&key).unwrap().unwrap().len(), 1);
    }
}

#[test]
fn a_long_object_is_read_ahead_in_order_and_from_any_byte() {
    for case in cases() {
        let bytes: Vec<u8> = (0..5_000_000u32).flat_map(u32::to_le_bytes).collect();
        let key = case.key("long");
        case.store.put(&key, bytes.clone()).unwrap();
        let entry = case.store.head(&key).unwrap().unwrap();
        assert!(case.stream(&entry, 0..entry.size).unwrap() == bytes, "{:?}", case.store);
        assert!(case.stream(&entry, 8_388_607..16_777_217).unwrap() == bytes[8_388_607..16_777_217]);
    }
}

#[test]
fn an_object_that_changed_since_it_was_listed_is_an_error_that_names_it() {
    for case in cases() {
        let key = case.key("changing");
        case.store.put(&key, b"before".to_vec()).unwrap();
        let entry = case.store.head(&key).unwrap().unwrap();
        case.store.put(&key, b"after!!".to_vec()).unwrap();
        let error = case.stream(&entry, 0..6).unwrap_err();
        assert!(error.to_string().contains("changing changed while"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Permanent);
    }
}

#[test]
fn an_object_that_is_gone_is_an_error_that_names_it() {
    for case in cases() {
        let entry = ListedObject { key: case.key("gone"), size: 6, version: None };
        let error = case.stream(&entry, 0..6).unwrap_err();
        assert!(format!("{error} {:?}", error.causes()).contains("gone"), "{error}");
    }
}

#[test]
fn staged_data_is_seen_when_it_is_completed_by_whoever_has_the_token() {
    for case in cases() {
        let key = case.key("out/part");
        let bytes = vec![7; 20 << 20];
        let mut writer = case.store.stage(&key, &case.key("work/")).unwrap();
        bytes.chunks(3 << 20).for_each(|chunk| writer.write(chunk).unwrap());
        let token = serde_json::to_string(&writer.finish().unwrap()).unwrap();
        assert!(case.names("out/", true).is_empty());
        let staged = serde_json::from_str(&token).unwrap();
        case.store.complete(&key, &staged).unwrap();
        assert!(case.store.get(&key).unwrap().unwrap() == bytes, "{:?}", case.store);
        assert!(case.names("work/", true).is_empty());
    }
}

#[test]
fn staged_data_that_is_given_up_leaves_nothing() {
    for case in cases() {
        let key = case.key("out/part");
        let mut writer = case.store.stage(&key, &case.key("work/")).unwrap();
        writer.write(&vec![7; 9 << 20]).unwrap();
        drop(writer);
        let mut writer = case.store.stage(&key, &case.key("work/")).unwrap();
        writer.write(b"x").unwrap();
        let staged = writer.finish().unwrap();
        case.store.abort(&key, &staged).unwrap();
        assert!(case.names("", true).is_empty(), "{:?}", case.names("", true));
    }
}

#[test]
fn published_data_is_there_at_once_small_or_large() {
    for case in cases() {
        for size in [0, 5, 9 << 20] {
            let key = case.key(&format!("object-{size}"));
            let mut writer = case.store.stage(&key, &case.key("work/")).unwrap();
            writer.write(&vec![1; size]).unwrap();
            writer.publish().unwrap();
            assert_eq!(case.store.get(&key).unwrap().unwrap().len(), size, "{:?}", case.store);
        }
    }
}

#[test]
fn a_cancelled_read_ends_with_that_as_its_error() {
    let [_, case] = cases();
    case.store.put("k", b"text".to_vec()).unwrap();
    case.cancel.cancel();
    assert_eq!(case.store.get("k").unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn requests_of_a_counting_store_are_counted_and_those_of_others_are_not() {
    for case in cases() {
        let requests = Arc::default();
        let Some(store) = case.store.counting(&requests) else {
            assert!(case.prefix.starts_with('/'), "files cost nothing");
            continue;
        };
        case.store.put("other", b"x".to_vec()).unwrap();
        store.put("a", b"data".to_vec()).unwrap();
        store.create("a", b"data".to_vec()).unwrap();
        store.list("", true).unwrap();
        store.get("a").unwrap();
        store.head("b").unwrap();
        let entry = store.head("a").unwrap().unwrap();
        store.read("a", 1..3).unwrap();
        store.open(&entry, 0..4).unwrap().read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(requests.take(), RequestCounts { reads: 5, writes: 3 });
        // One PUT for little data; for more of it one to begin, one for each 8 MiB, and one to end.
        let mut small = store.stage("small", "").unwrap();
        small.write(b"data").unwrap();
        small.publish().unwrap();
        assert_eq!(requests.take(), RequestCounts { reads: 0, writes: 1 });
        let mut large = store.stage("large", "").unwrap();
        large.write(&vec![7; 9 << 20]).unwrap();
        large.publish().unwrap();
        assert_eq!(requests.take(), RequestCounts { reads: 0, writes: 4 });
    }
}
