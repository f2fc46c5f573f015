//! Uploads that nobody ends: the store's list of them, and what runs that are killed leave.

#[path = "common/buckets.rs"]
mod buckets;
mod common;
#[path = "s3/server.rs"]
mod server;

use buckets::{bucket, run};
use common::{Place, word_count};
use mapreduce_worker::error::ErrorKind;
use mapreduce_worker::storage::{Created, PendingUpload, SharedStore, Staged};
use serde_json::json;
use server::{Fault, S3};

fn staged(store: &SharedStore, key: &str, bytes: &[u8]) -> Staged {
    let mut writer = store.stage(key, "").unwrap();
    writer.write(bytes).unwrap();
    writer.finish().unwrap()
}

#[test]
fn uploads_under_way_are_listed_page_by_page_and_can_be_aborted_by_that() {
    let (place, s3) = (Place::new(), S3::start());
    s3.set_page(2);
    s3.check_signatures("secret");
    let store = bucket(&place, &s3);
    let keys =
        ["o/part-00000", "o/part-00000", "o//ü + %/x", "o/<a>&\ttab", "o/mapreduce-key-61", "other/x", "o"];
    let begun: Vec<(&str, Staged)> = keys.iter().map(|key| (*key, staged(&store, key, b"x"))).collect();
    let mut wanted: Vec<PendingUpload> = begun
        .iter()
        .filter(|(key, _)| key.starts_with("o/"))
        .map(|(key, staged)| match staged {
            Staged::Upload { id, .. } => PendingUpload { key: (*key).to_owned(), id: id.clone() },
            Staged::File { path } => panic!("{path}"),
        })
        .collect();
    wanted.sort();
    let listed = store.uploads("o/").unwrap().unwrap();
    assert_eq!(listed, wanted);
    assert!(s3.asked().iter().filter(|request| request.asks("key-marker")).count() >= 2);
    for PendingUpload { key, id } in listed {
        store.abort(&key, &Staged::Upload { id, parts: Vec::new() }).unwrap();
    }
    assert_eq!(store.uploads("o/").unwrap().unwrap(), []);
    assert_eq!(store.uploads("").unwrap().unwrap().len(), 2);
}

#[test]
fn a_server_without_a_list_of_uploads_has_none_and_one_that_fails_is_an_error() {
    let (place, s3) = (Place::new(), S3::start());
    let store = bucket(&place, &s3);
    let of_objects = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>".to_vec();
    for answer in [
        Fault::Status(501, "NotImplemented"),
        Fault::Status(405, "MethodNotAllowed"),
        Fault::Status(403, "AccessDenied"),
        Fault::Answer(200, Vec::new(), of_objects),
    ] {
        let (before, said) = (s3.asked().len(), answer.clone());
        s3.on(move |request| request.asks("uploads").then(|| said.clone()));
        assert_eq!(store.uploads("o/").unwrap(), None, "{answer:?}");
        assert_eq!(s3.asked().len(), before + 1, "{answer:?}");
    }
    s3.on(|request| request.asks("uploads").then_some(Fault::Status(500, "InternalError")));
    let error = store.uploads("o/").unwrap_err();
    assert_eq!(error.to_string(), "can't list uploads below s3://b/o/");
}

#[test]
fn an_upload_that_is_to_be_new_leaves_the_object_that_is_there() {
    let (place, s3) = (Place::new(), S3::start());
    let store = bucket(&place, &s3);
    for key in ["o/x", "o//odd"] {
        let ours = staged(&store, key, b"ours");
        s3.put(key, "theirs");
        assert_eq!(store.complete_new(key, &ours).unwrap(), Created::Exists);
        assert_eq!(s3.get(key).unwrap(), b"theirs");
        // It can still be completed where theirs is to be replaced, or be aborted.
        assert_eq!(store.complete(key, &ours).unwrap(), Created::New);
        assert_eq!(s3.get(key).unwrap(), b"ours");
        assert_eq!(store.complete_new(key, &ours).unwrap(), Created::Exists, "it was completed before");
        assert!(s3.uploads().is_empty());
    }
}

#[test]
fn a_server_that_does_not_know_conditional_completion_completes() {
    let (place, s3) = (Place::new(), S3::start());
    let store = bucket(&place, &s3);
    let ours = staged(&store, "o/x", b"ours");
    s3.on(|request| {
        let is_conditional = request.method == "POST" && request.headers.contains_key("if-none-match");
        is_conditional.then_some(Fault::Status(501, "NotImplemented"))
    });
    assert_eq!(store.complete_new("o/x", &ours).unwrap(), Created::New);
    assert_eq!(s3.get("o/x").unwrap(), b"ours");
}

#[test]
fn a_completion_that_another_writer_disturbs_is_tried_again() {
    let (place, s3) = (Place::new(), S3::start());
    let store = bucket(&place, &s3);
    let ours = staged(&store, "o/x", b"ours");
    let completions =
        |s3: &S3| s3.asked().iter().filter(|request| request.headers.contains_key("if-none-match")).count();
    s3.once(|request| request.method == "POST", Fault::Status(409, "ConditionalRequestConflict"));
    assert_eq!(store.complete_new("o/x", &ours).unwrap(), Created::New);
    assert_eq!(completions(&s3), 2);
    let ours = staged(&store, "o/y", b"ours");
    s3.on(|request| (request.method == "POST").then_some(Fault::Status(409, "ConditionalRequestConflict")));
    assert_eq!(store.complete_new("o/y", &ours).unwrap_err().kind(), ErrorKind::Retry);
    assert!((4..20).contains(&completions(&s3)));
}

#[test]
fn what_another_program_writes_at_the_last_moment_stays_and_the_job_fails() {
    for shuffle in [json!({}), json!({"url": "s3://b/shuffle/"})] {
        let (place, s3) = (Place::new(), S3::start());
        s3.put("in/a", "x y\n".repeat(100));
        // Between the look and the moment when the part appears.
        let theirs = Fault::Behind("out/part-00001", b"theirs");
        s3.once(
            |request| {
                request.method == "POST" && request.asks("uploadId") && request.key() == "out/part-00001"
            },
            theirs,
        );
        let mut fields = word_count(2, true);
        fields["shuffle"] = shuffle;
        let error = run(&place, &s3, fields).unwrap_err();
        assert!(error.to_string().contains("out/part-00001"), "{error}");
        let keys: Vec<_> = s3.keys().into_iter().filter(|key| key != "in/a").collect();
        assert_eq!(keys, ["out/part-00001"]);
        assert_eq!(s3.get("out/part-00001").unwrap(), b"theirs");
        assert!(s3.uploads().is_empty(), "{:?}", s3.uploads());
    }
}
