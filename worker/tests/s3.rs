//! Jobs over a bucket, whatever its keys are and its server does.

#[path = "common/buckets.rs"]
mod buckets;
mod common;
#[path = "s3/server.rs"]
mod server;

use buckets::{bucket, bucket_at, job, run};
use common::{Place, builtin, counted, merge, parse_counts, word_count};
use mapreduce_worker::error::{ErrorKind, Result};
use mapreduce_worker::job::pod;
use mapreduce_worker::storage::Created;
use serde_json::json;
use server::{Fault, S3};

#[test]
fn a_job_reads_and_writes_a_bucket() {
    let (place, s3) = (Place::new(), S3::start());
    s3.set_page(2);
    let texts: Vec<String> = (0..7).map(|i| format!("a b {i}\n").repeat(100)).collect();
    texts.iter().enumerate().for_each(|(i, text)| s3.put(format!("in/{i}"), text));
    run(&place, &s3, word_count(2, true)).unwrap();
    let parts = [s3.get("out/part-00000").unwrap(), s3.get("out/part-00001").unwrap()].concat();
    assert_eq!(parse_counts(&parts), counted(&texts));
    let written: Vec<_> = s3.keys().into_iter().filter(|key| !key.starts_with("in/")).collect();
    assert_eq!(written, ["out/_SUCCESS", "out/part-00000", "out/part-00001"]);
    assert!(s3.uploads().is_empty());
}

/// What a job counts that reads these URLs, and how many objects that were.
fn counts(s3: &S3, urls: &[&str]) -> Result<(u64, u64)> {
    let place = Place::new();
    let fields = json!({"input": {"urls": urls}, "output": {"url": "file:out/"}, "map": builtin("identity")});
    let counters = run(&place, s3, fields)?.counters;
    Ok((counters.input_objects, counters.map_input_records))
}

const ODD: [&str; 14] = [
    "in/a//b",
    "in//lead",
    "in/ spill_store s",
    "in/per%cent%20",
    "in/plus+",
    "in/hash#",
    "in/question?x=1&y",
    "in/über/日本.txt",
    "in/tab\tand\nnewline",
    "in/<xml>&amp;\"'",
    "in/mapreduce-key-61",
    "in/back\\slash",
    "in/[1]{2}*~^|`",
    "in/slash/",
];

#[test]
fn keys_pass_unchanged_whatever_they_are() {
    let (place, s3) = (Place::new(), S3::start());
    s3.set_page(3);
    s3.check_signatures("secret");
    ODD.iter().for_each(|key| s3.put(key, format!("{key:?}\n")));
    let before = s3.keys();
    let output = "s3://b/o//ü + %/";
    let fields = json!({"output": {"url": output}, "map": builtin("identity")});
    assert_eq!(run(&place, &s3, fields.clone()).unwrap().counters.input_objects, ODD.len() as u64);
    let parts: Vec<u8> = ODD
        .iter()
        .enumerate()
        .map(|(i, _)| s3.get(format!("o//ü + %/part-{i:05}")).unwrap_or_default())
        .collect::<Vec<_>>()
        .concat();
    let text = String::from_utf8(parts).unwrap();
    ODD.iter().for_each(|key| assert!(text.contains(&format!("{key:?}")), "{key:?}: {text}"));
    let written: Vec<String> = s3.keys().into_iter().filter(|key| !before.contains(key)).collect();
    assert!(written.iter().all(|key| key.starts_with("o//ü + %/")), "{written:?}");
    // Each by its own name.
    for key in ODD {
        let url = format!("s3://b/{key}");
        if key.ends_with('/') {
            continue;
        }
        assert_eq!(counts(&s3, &[&url]).unwrap(), (1, 1), "{key}");
    }
    // And removed, one by one and many at once.
    let store = bucket(&place, &s3);
    store.delete_prefix("").unwrap();
    assert_eq!(s3.keys(), [""; 0]);
}

#[test]
fn large_objects_have_odd_keys_too() {
    let (place, s3) = (Place::new(), S3::start());
    let store = bucket(&place, &s3);
    for key in ["/x//y", "x/+"] {
        let mut writer = store.stage(key, "").unwrap();
        writer.write(&vec![7; 9 << 20]).unwrap();
        let staged = writer.finish().unwrap();
        store.complete(key, &staged).unwrap();
        assert_eq!(s3.get(key).unwrap().len(), 9 << 20);
        assert_eq!(store.read(key, 5..7).unwrap(), [7, 7]);
        assert_eq!(store.create(key, b"x".to_vec()).unwrap(), Created::Exists);
        drop(store.stage(key, "").unwrap());
    }
    assert!(s3.uploads().is_empty());
    // What HTTP would take for a way through folders is refused by name.
    s3.put("d/../e", "x");
    assert_eq!(store.list("d/", true).unwrap()[0].key, "d/../e");
    let error = store.get("d/../e").unwrap_err();
    assert!(error.to_string().contains("s3://b/d/../e"), "{error}");
}

#[test]
fn folder_markers_are_no_objects() {
    let (place, s3) = (Place::new(), S3::start());
    for marker in ["in/", "in/sub/", "out/", "out/sub/", "empty/", "in/a//"] {
        s3.put(marker, "");
    }
    s3.put("in/a", "x\n");
    assert_eq!(run(&place, &s3, word_count(1, false)).unwrap().counters.input_objects, 1);
    assert_eq!(s3.get("out/part-00000").unwrap(), b"x\t1\n");
    for url in ["s3://b/empty/", "s3://b/empty", "s3://b/empty/*"] {
        let error = counts(&s3, &[url]).unwrap_err();
        assert_eq!(error.to_string(), format!("{url} matches no object"));
    }
}

#[test]
fn a_prefix_and_a_key_are_taken_to_the_letter() {
    let s3 = S3::start();
    for key in ["logs/a", "logs/a_b.txt", "logs/x.txt", "logs/ü", "/lead", "lead", "//x/long-name"] {
        s3.put(key, "x\n");
    }
    let matches_none =
        |url: &str| counts(&s3, &[url]).unwrap_err().to_string() == format!("{url} matches no object");
    assert!(matches_none("s3://b/logs//"));
    assert!(matches_none("s3://b//logs/"));
    assert!(matches_none("s3://b/x"));
    s3.put("lead", "of another\nlength\n");
    assert_eq!(counts(&s3, &["s3://b//lead"]).unwrap(), (1, 1));
    assert_eq!(counts(&s3, &["s3://b/lead"]).unwrap(), (1, 2));
    assert_eq!(counts(&s3, &["s3://b///x/"]).unwrap(), (1, 1));
    assert_eq!(counts(&s3, &["s3://b/logs/*"]).unwrap(), (4, 4));
    assert_eq!(counts(&s3, &["s3://b/logs/", "s3://b/logs/a"]).unwrap(), (4, 4));
}

#[test]
fn a_listing_that_is_cut_off_is_an_error() {
    let s3 = S3::start();
    (0..5).for_each(|i| s3.put(format!("in/{i}"), "x\n"));
    s3.on(|request| {
        let body = "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>in/0</Key>\
                    <LastModified>2026-10-21T07:28:00.000Z</LastModified><ETag>x</ETag><Size>2</Size></Contents></ListBucketResult>";
        request.is_list().then(|| Fault::Answer(200, Vec::new(), body.into()))
    });
    let error = counts(&s3, &["s3://b/in/"]).unwrap_err();
    assert_eq!(error.to_string(), "can't list s3://b/in/");
    assert!(
        error.causes().iter().any(|cause| cause.contains("goes on, but not where")),
        "{:?}",
        error.causes()
    );
}

#[test]
fn a_bucket_root_may_be_written_where_it_is_empty_and_never_replaced() {
    let (place, s3) = (Place::new(), S3::start());
    place.write("in/a", "x");
    let mut fields = word_count(1, false);
    merge(&mut fields, json!({"input": {"urls": ["file:in/"]}, "output": {"url": "s3://b"}}));
    run(&place, &s3, fields.clone()).unwrap();
    assert_eq!(s3.keys(), ["_SUCCESS", "part-00000"]);
    let error = run(&place, &s3, fields.clone()).unwrap_err();
    assert!(error.to_string().starts_with("output s3://b exists: "), "{error}");
    merge(&mut fields, json!({"output": {"ifExists": "Replace"}}));
    assert!(run(&place, &s3, fields).unwrap_err().to_string().contains("`s3://b` is a whole bucket"));
}

#[test]
fn a_server_that_is_not_reached_says_why_and_what_to_do() {
    let place = Place::new();
    // Nothing listens where nobody does any more.
    let closed = S3::start().endpoint();
    for (endpoint, cause, remedy) in [
        (
            closed.as_str(),
            "the connection was refused: nothing listens there",
            "correct the host and the port in spec.storage.s3.endpoint or AWS_ENDPOINT_URL",
        ),
        (
            "http://no-such-host.invalid:9000",
            "the host's name is unknown",
            "correct the address in spec.storage.s3.endpoint or AWS_ENDPOINT_URL",
        ),
    ] {
        let error = bucket_at(&place, endpoint).list("in/", true).unwrap_err();
        assert_eq!(error.to_string(), "can't list s3://b/in/");
        assert_eq!(error.causes()[0], format!("{endpoint}: {cause}"), "{:?}", error.causes());
        assert!(error.causes()[1].starts_with(remedy), "{:?}", error.causes());
    }
}

#[test]
fn a_store_that_reads_past_conditions_is_refused_before_the_first_task() {
    for shuffle in [json!({}), json!({"url": "s3://b/shuffle/"}), json!({"url": "file:shuffle/"})] {
        let (place, s3) = (Place::new(), S3::start());
        s3.ignore_conditions();
        s3.put("in/a", "x\n");
        let mut fields = word_count(1, false);
        merge(&mut fields, json!({"shuffle": shuffle}));
        let refused = |error: &mapreduce_worker::error::Error| {
            let said = format!("{shuffle}: {error} {:?}", error.causes());
            assert!(error.to_string().starts_with("s3://b/ does not create objects conditionally"), "{said}");
            assert_eq!(error.kind(), ErrorKind::Permanent, "{said}");
            let read = s3.asked().into_iter().filter(|request| request.key() == "in/a").count();
            assert_eq!(read, 0, "{said}: a task has begun");
            assert!(place.names("shuffle").is_empty(), "{said}");
        };
        refused(&run(&place, &s3, fields.clone()).unwrap_err());
        assert_eq!(s3.keys(), ["in/a"], "{shuffle}: the local run");
        // Its operator cleans up after a pod.
        let job = job(&place, &s3, fields).unwrap();
        refused(&pod::plan(&job, &place.resources).unwrap_err());
        pod::cleanup(&job).unwrap();
        assert_eq!(s3.keys(), ["in/a"], "{shuffle}: the plan of pods");
    }
}

/// What a job with its intermediate data in the bucket creates once, by the ends of the keys.
const CREATES: [&str; 7] = [
    "/plan.json",
    "/commit/map-00000",
    "/index",
    "/commit/reduce-00000",
    "/finish/00000",
    "/_mapreduce-lock",
    "/_SUCCESS",
];

#[test]
fn an_answer_to_a_create_that_is_no_verdict_loses_nothing_and_leaves_nothing() {
    let texts = ["to be or not to be\n", "that is the question\n"];
    // Runs the job, whose first request of this kind fails; how many there were.
    let creates = |create: &'static str, fault: Option<Fault>| {
        let (place, s3) = (Place::new(), S3::start());
        texts.iter().enumerate().for_each(|(i, text)| s3.put(format!("in/{i}"), text));
        let is_meant = move |request: &server::Request| {
            request.headers.contains_key("if-none-match") && request.key().ends_with(create)
        };
        let context = format!("{create}: {fault:?}");
        if let Some(fault) = fault {
            s3.once(is_meant, fault);
        }
        let mut fields = word_count(1, true);
        merge(&mut fields, json!({"shuffle": {"url": "s3://b/shuffle/"}}));
        let done = run(&place, &s3, fields);
        let done = done.unwrap_or_else(|error| panic!("{context}: {error} {:?}", error.causes()));
        assert_eq!(done.counters.map_output_records, 10, "{context}: a task counts once");
        assert_eq!(s3.keys(), ["in/0", "in/1", "out/_SUCCESS", "out/part-00000"], "{context}");
        assert_eq!(parse_counts(&s3.get("out/part-00000").unwrap()), counted(&texts), "{context}");
        assert!(s3.uploads().is_empty(), "{context}: {:?}", s3.uploads());
        s3.asked().iter().filter(|request| is_meant(request)).count()
    };
    for create in CREATES {
        let without = creates(create, None);
        assert!(without > 0, "{create}");
        for fault in [
            Fault::Status(409, "ConditionalRequestConflict"),
            Fault::Status(503, "SlowDown"),
            Fault::AnswerLost,
            Fault::Closed,
        ] {
            assert_eq!(creates(create, Some(fault)), without + 1, "{create}: it was not asked for again");
        }
    }
}
