//! Answers that aren't what was asked for: an error, or the right bytes, and never others.

#[path = "common/buckets.rs"]
mod buckets;
mod common;
#[path = "s3/server.rs"]
mod server;

use std::io::Read as _;

use buckets::bucket;
use common::Place;
use mapreduce_worker::error::{Error, ErrorKind, Result};
use mapreduce_worker::storage::{ListedObject, SharedStore};
use server::{Fault, Request, S3};

const CONTENT: &[u8] = b"abcdef";

fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Fault {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let dated = [("ETag".to_owned(), "\"e\"".to_owned())].into_iter();
    let dated = dated.chain([("Last-Modified".to_owned(), "Wed, 21 Oct 2026 07:28:00 GMT".to_owned())]);
    Fault::Answer(status, headers.chain(dated).collect(), body.to_vec())
}

fn stream(store: &SharedStore, entry: &ListedObject, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open(entry, range)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn is_ranged(request: &Request) -> bool {
    request.method == "GET" && request.headers.contains_key("range")
}

#[test]
fn a_range_that_is_answered_with_something_else_is_an_error_however_it_is_read() {
    let whole = [("Content-Length", "6")];
    for (lie, fault) in [
        ("the whole object", answer(200, &whole, CONTENT)),
        ("another range", answer(206, &[("Content-Range", "bytes 1-3/6")], b"bcd")),
        ("fewer bytes than it says", answer(206, &[("Content-Range", "bytes 0-2/6")], b"ab")),
        ("more bytes than it says", answer(206, &[("Content-Range", "bytes 0-2/6")], b"abcd")),
        (
            "a length that is never reached",
            answer(206, &[("Content-Range", "bytes 0-2/6"), ("Content-Length", "3")], b"ab"),
        ),
        ("no range", answer(206, &[], b"abc")),
    ] {
        let (place, s3) = (Place::new(), S3::start());
        s3.put("k", CONTENT);
        let store = bucket(&place, &s3);
        let entry = store.head("k").unwrap().unwrap();
        s3.on(move |request| is_ranged(request).then(|| fault.clone()));
        let read: [Result<Vec<u8>>; 3] = [
            store.read("k", 0..3),
            store.start("k", 3).map(Option::unwrap_or_default),
            stream(&store, &entry, 0..3),
        ];
        for read in read {
            let error = read.expect_err(lie);
            assert!(error.to_string().contains("s3://b/k"), "{lie}: {error}");
        }
    }
}

#[test]
fn an_object_that_is_shorter_than_its_listing_said_is_an_error() {
    let (place, s3) = (Place::new(), S3::start());
    s3.put("k", CONTENT);
    let store = bucket(&place, &s3);
    let entry = store.head("k").unwrap().unwrap();
    let error = stream(&store, &ListedObject { size: 10, ..entry }, 0..10).unwrap_err();
    assert_eq!(error.to_string(), "s3://b/k became shorter while it was read");
}

#[test]
fn the_start_of_an_empty_object_is_empty() {
    let (place, s3) = (Place::new(), S3::start());
    s3.put("empty", "");
    assert_eq!(bucket(&place, &s3).start("empty", 10).unwrap(), Some(Vec::new()));
    assert_eq!(bucket(&place, &s3).start("gone", 10).unwrap(), None);
}

/// The error of a read whose later requests are answered so.
fn interrupted_by(status: u16, code: &'static str) -> Error {
    let (place, s3) = (Place::new(), S3::start());
    s3.put("k", vec![7; 20 << 20]);
    let store = bucket(&place, &s3);
    let entry = store.head("k").unwrap().unwrap();
    let is_later =
        |request: &Request| is_ranged(request) && !request.headers["range"].starts_with("bytes=0-");
    s3.on(move |request| is_later(request).then_some(Fault::Status(status, code)));
    stream(&store, &entry, 0..entry.size).unwrap_err()
}

#[test]
fn an_object_that_is_removed_or_replaced_while_it_is_read_is_an_error_that_no_attempt_can_mend() {
    for (status, code, said) in [
        (404, "NoSuchKey", "there is no object s3://b/k"),
        (412, "PreconditionFailed", "s3://b/k changed while the job was reading it: run the job again"),
    ] {
        let error = interrupted_by(status, code);
        assert_eq!((error.to_string().as_str(), error.kind()), (said, ErrorKind::Permanent));
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_and_not_the_credentials() {
    let (place, s3) = (Place::new(), S3::start());
    s3.on(|_| Some(Fault::Status(403, "RequestTimeTooSkewed")));
    let error = bucket(&place, &s3).list("in/", true).unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't list s3://b/in/: the clock of this machine differs from the store's"
    );
    assert_eq!(error.kind(), ErrorKind::Permanent);
    assert!(error.causes().iter().any(|cause| cause.contains("set the clock")), "{:?}", error.causes());
}

fn page(keys: &[&str], next: &str) -> Fault {
    let contents = keys.iter().map(|key| {
        format!("<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-10-21T07:28:00Z</LastModified></Contents>")
    });
    let next = match next {
        "" => "<IsTruncated>false</IsTruncated>".to_owned(),
        next => {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>")
        }
    };
    let body = format!("<ListBucketResult>{next}{}</ListBucketResult>", contents.collect::<String>());
    answer(200, &[], body.as_bytes())
}

#[test]
fn a_listing_that_goes_on_where_it_was_is_an_error() {
    let (place, s3) = (Place::new(), S3::start());
    s3.on(|request| request.is_list().then(|| page(&["in/a"], "again")));
    let error = bucket(&place, &s3).list("in/", true).unwrap_err();
    assert!(error.to_string().starts_with("can't list s3://b/in/"), "{error}");
    assert!(error.causes()[0].contains("goes on where it was"), "{:?}", error.causes());
}

#[test]
fn an_object_that_two_pages_show_is_one_and_one_that_was_not_asked_for_is_none() {
    let (place, s3) = (Place::new(), S3::start());
    s3.on(|request| {
        let is_first = !request.asks("continuation-token");
        let page = || if is_first { page(&["in/a", "in/b"], "2") } else { page(&["in/b", "out/x"], "") };
        request.is_list().then(page)
    });
    let keys: Vec<_> = bucket(&place, &s3).list("in/", true).unwrap().into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["in/a", "in/b"]);
}
