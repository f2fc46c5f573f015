//! Input from web servers: those that give ranges, those that don't, and those that fail.

mod common;
#[path = "http/server.rs"]
mod server;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Place, builtin, counted, parse_counts, word_count};
use mapreduce_worker::error::{ErrorKind, Result};
use mapreduce_worker::storage::{ListedObject, Location, Stores};
use serde_json::json;
use server::{Request, Response, Server};
use tokio_util::sync::CancellationToken;

type Answer = fn(&Request, &[u8]) -> Response;

/// The kinds of server, each with whether it gives ranges.
const KINDS: [(&str, Answer, bool); 4] = [
    ("with ranges", |request, content| Response::ranged(request, content), true),
    ("without ranges", |_, content| Response::whole(content), false),
    ("without lengths", |_, content| Response::chunked(content), false),
    ("that hangs up at the end", |_, content| Response::until_closed(content), false),
];

/// A server of one object under any path.
fn serve(kind: Answer, content: &[u8]) -> Server {
    let content = content.to_vec();
    Server::start(move |request| kind(request, &content))
}

/// Counts the answers, and gives the first ones from elsewhere.
fn serve_after(
    others: usize,
    other: impl Fn(&Request) -> Response + Send + Sync + 'static,
    then: impl Fn(&Request) -> Response + Send + Sync + 'static,
) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(
        move |request| {
            if asked.fetch_add(1, Ordering::Relaxed) < others { other(request) } else { then(request) }
        },
    )
}

/// A store that reaches web servers, and the runtime that it needs.
struct Client {
    _runtime: tokio::runtime::Runtime,
    stores: Stores,
}

impl Client {
    fn new() -> Self {
        Self::waiting(600)
    }

    /// One that waits so many seconds for a server that is away.
    fn waiting(seconds: i64) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = std::path::Path::new("/");
        let stores = Stores::new(
            serde_json::from_value(json!({"timeoutSeconds": seconds})).unwrap(),
            folder,
            runtime.handle().clone(),
            CancellationToken::new(),
        );
        Self { _runtime: runtime, stores }
    }

    fn find(&self, url: &str) -> (Location, Option<ListedObject>) {
        let place = self.stores.locate(url).unwrap();
        let found = place.store.head(&place.key).unwrap();
        (place, found)
    }

    /// Reads a range of an object that is there.
    fn read(&self, url: &str, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let (place, entry) = self.find(url);
        let mut bytes = Vec::new();
        place.store.open(&entry.unwrap(), range)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn said(error: &mapreduce_worker::error::Error) -> String {
    format!("{error} {}", error.causes().join(" "))
}

fn numbers(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn an_object_reads_the_same_whatever_its_server_can() {
    let content = numbers(5_000_000);
    for (name, kind, ranges) in KINDS {
        let (server, client) = (serve(kind, &content), Client::new());
        let url = server.url("/folder/numbers?signed=yes");
        let (place, entry) = client.find(&url);
        assert_eq!(entry.unwrap().size, 20_000_000, "{name}");
        assert_eq!(place.store.has_ranges(&place.key).unwrap(), ranges, "{name}");
        for range in [0..20_000_000, 5..6, 8_388_607..8_388_609, 3_000_000..19_999_999, 7..7] {
            let expected = &content[range.start as usize..range.end as usize];
            assert!(client.read(&url, range.clone()).unwrap() == expected, "{name} {range:?}");
        }
        assert_eq!(place.store.read(&place.key, 4..8).unwrap(), [1, 0, 0, 0], "{name}");
        let asked = server.asked();
        assert!(asked.iter().all(|asked| asked.method == "GET" && asked.target.ends_with("?signed=yes")));
    }
}

#[test]
fn an_empty_object_is_there_and_has_no_bytes() {
    for (name, kind, _) in KINDS {
        let (server, client) = (serve(kind, b""), Client::new());
        let (place, entry) = client.find(&server.url("/empty"));
        assert_eq!(entry.unwrap().size, 0, "{name}");
        assert_eq!(place.store.get(&place.key).unwrap().unwrap(), b"", "{name}");
    }
}

#[test]
fn a_word_count_of_web_objects_is_the_same_over_every_server() {
    let texts: Vec<String> = (0..3u32)
        .map(|i| (0..900u32).flat_map(|n| [format!("w{} ", n * i % 70), "x\n".into()]).collect())
        .collect();
    for (name, kind, ranges) in KINDS {
        let content = texts.clone();
        let server = Server::start(move |request| {
            let name = request.target.trim_start_matches('/');
            match name.parse::<usize>().ok().and_then(|i| content.get(i)) {
                Some(text) => kind(request, text.as_bytes()),
                None => Response::new("404 Not Found\nContent-Length: 0", b""),
            }
        });
        for shuffle in [json!({}), json!({"url": "file:shuffle/"})] {
            let place = Place::new();
            let urls: Vec<String> = (0..3).map(|i| server.url(&format!("/{i}"))).collect();
            let mut fields = word_count(2, true);
            fields["input"] = json!({"urls": urls, "splitSize": 1000});
            fields["shuffle"] = shuffle;
            let done = place.run(fields).unwrap();
            assert_eq!(parse_counts(&place.output()), counted(&texts), "{name}");
            assert_eq!(done.counters.input_objects, 3);
            assert_eq!(done.counters.input_bytes, texts.iter().map(|text| text.len() as u64).sum::<u64>());
        }
        let later =
            server.asked().iter().filter(|asked| asked.range.is_some_and(|range| range.0 > 0)).count();
        assert_eq!(later > 0, ranges, "{name}: {later} requests began after an object's beginning");
    }
}

#[test]
fn rows_of_parquet_and_compressed_objects_come_from_every_server() {
    let place = Place::new();
    place.write("in/a", "k1\t1\nk2\t2\n");
    place
        .run(json!({"input": {"format": {"type": "KeyValue"}}, "reduce": {"tasks": 0},
                    "output": {"format": {"type": "Parquet"}}}))
        .unwrap();
    let parquet = place.read("out/part-00000.parquet");
    let zstd = zstd::encode_all(&b"k1\t1\nk2\t2\n"[..], 1).unwrap();
    for (_, kind, _) in KINDS {
        for (content, format, expected) in [
            (
                &parquet,
                json!({"type": "Parquet"}),
                "1\t{\"key\":\"k1\",\"value\":\"1\"}\n2\t{\"key\":\"k2\",\"value\":\"2\"}\n",
            ),
            (&zstd, json!({"type": "KeyValue"}), "k1\t1\nk2\t2\n"),
        ] {
            let (server, place) = (serve(kind, content), Place::new());
            let input = json!({"urls": [server.url("/x")], "format": format, "splitSize": 10});
            place.run(json!({"input": input, "reduce": {"tasks": 0}})).unwrap();
            assert_eq!(place.output_text(), expected);
        }
    }
}

#[test]
fn who_is_sent_elsewhere_goes_there() {
    let server = Server::start(|request| {
        if request.target == "/new" {
            Response::ranged(request, b"to be")
        } else {
            Response::new("302 Found\nLocation: /new\nContent-Length: 0", b"")
        }
    });
    assert_eq!(Client::new().read(&server.url("/old"), 0..5).unwrap(), b"to be");
    assert!(server.asked().iter().any(|asked| asked.target == "/old"));
    let server = Server::start(|_| Response::new("302 Found\nLocation: /again\nContent-Length: 0", b""));
    let place = Place::new();
    let mut fields = word_count(1, false);
    fields["input"] = json!({"urls": [server.url("/round")]});
    let error = place.run(fields).unwrap_err();
    assert!(said(&error).contains("/round"), "{}", said(&error));
}

#[test]
fn an_object_that_is_not_there_or_not_for_us_is_an_error_that_names_it() {
    for (status, message) in [
        ("404 Not Found", "matches no object"),
        ("410 Gone", "matches no object"),
        ("403 Forbidden", "the server doesn't allow it"),
        ("401 Unauthorized", "the server doesn't allow it"),
        ("400 Bad Request", "400 Bad Request"),
    ] {
        let server = Server::start(move |_| Response::new(&format!("{status}\nContent-Length: 0"), b""));
        let (place, url) = (Place::new(), server.url("/secret"));
        let mut fields = word_count(1, false);
        fields["input"] = json!({"urls": [url]});
        let error = place.run(fields).unwrap_err();
        assert!(said(&error).contains(&url) && said(&error).contains(message), "{}", said(&error));
        assert_eq!(error.kind(), ErrorKind::Permanent, "{status}");
        assert_eq!(server.asked().len(), 1, "{status}");
    }
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    for status in ["503 Service Unavailable", "500 Internal Server Error", "429 Too Many Requests"] {
        let busy =
            move |_: &Request| Response::new(&format!("{status}\nRetry-After: 0\nContent-Length: 0"), b"");
        let server = serve_after(2, busy, |request| Response::ranged(request, b"to be"));
        assert_eq!(Client::new().read(&server.url("/x"), 0..5).unwrap(), b"to be");
        assert_eq!(server.asked().len(), 4, "two that failed, a look, a read");
        let server = Server::start(busy);
        let client = Client::waiting(0);
        let place = client.stores.locate(&server.url("/x")).unwrap();
        let error = place.store.head(&place.key).unwrap_err();
        assert!(
            said(&error).contains(&server.url("/x")) && said(&error).contains(status),
            "{}",
            said(&error)
        );
        assert_eq!((error.kind(), server.asked().len()), (ErrorKind::Retry, 5));
        let server = serve_after(7, busy, |request| Response::ranged(request, b"to be"));
        assert_eq!(Client::new().read(&server.url("/x"), 0..5).unwrap(), b"to be");
        assert_eq!(server.asked().len(), 9, "seven that failed, a look, a read");
    }
}

#[test]
fn a_server_that_stays_away_is_an_error_when_it_has_been_waited_for() {
    let server = Server::start(|_| Response::new("503 Service Unavailable\nRetry-After: 0", b""));
    let client = Client::waiting(1);
    let place = client.stores.locate(&server.url("/x")).unwrap();
    let error = place.store.head(&place.key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreUnavailable, "{}", said(&error));
    let message = format!("can't read {}: the store was away for 1 s", server.url("/x"));
    assert_eq!(
        (error.to_string(), &*error.causes()[0]),
        (message, "the server answers 503 Service Unavailable")
    );
}

#[test]
fn a_server_that_hangs_up_without_an_answer_is_asked_again() {
    let server = serve_after(2, |_| Response::new("", b""), |request| Response::ranged(request, b"to be"));
    assert_eq!(Client::new().read(&server.url("/x"), 0..5).unwrap(), b"to be");
    assert_eq!(server.asked().len(), 4, "two without an answer, a look, a read");
}

#[test]
fn a_piece_that_is_cut_off_is_read_again_and_an_object_in_one_piece_by_another_attempt() {
    let content = Arc::new(numbers(3_000_000));
    let cuts = Arc::new(AtomicUsize::new(0));
    let (whole, cut) = (Arc::clone(&content), Arc::clone(&cuts));
    let server = Server::start(move |request| {
        let mut response = Response::ranged(request, &whole);
        if response.body.len() > 1000 && cut.fetch_add(1, Ordering::Relaxed) < 2 {
            response.body.truncate(1000);
        }
        response
    });
    assert!(Client::new().read(&server.url("/x"), 0..12_000_000).unwrap() == *content);
    assert!(cuts.load(Ordering::Relaxed) > 2, "nothing was cut off");

    for kind in [Response::whole, Response::chunked] {
        let (whole, cuts) = (Arc::clone(&content), Arc::new(AtomicUsize::new(0)));
        let cut = Arc::clone(&cuts);
        let server = Server::start(move |_| {
            let mut response = kind(&whole);
            if cut.fetch_add(1, Ordering::Relaxed) == 2 {
                response.body.truncate(7_000_000);
            }
            response
        });
        let client = Client::new();
        let place = client.stores.locate(&server.url("/x")).unwrap();
        let entry = place.store.head(&place.key).unwrap().unwrap();
        let mut results = (0..3).map(|_| {
            let mut bytes = Vec::new();
            let read = place.store.open(&entry, 0..entry.size).unwrap().read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(mapreduce_worker::error::Error::from)
        });
        let error = results.find_map(Result::err).expect("nothing was cut off");
        assert!(error.is_retryable() && said(&error).contains("/x"), "{}", said(&error));
        assert!(results.next().is_none_or(|read| read.unwrap() == *content));
    }
}

#[test]
fn a_server_may_give_less_than_it_was_asked_for_but_nothing_else() {
    let content = numbers(1000);
    let whole = content.clone();
    let server = Server::start(move |request| {
        let (first, last) = request.range.unwrap();
        Response::ranged(&Request { range: Some((first, last.min(first + 99))), ..request.clone() }, &whole)
    });
    assert_eq!(Client::new().read(&server.url("/x"), 0..4000).unwrap(), content);
    let server = Server::start(move |request| {
        let (first, last) = request.range.unwrap();
        let shift = usize::from(last > 0);
        Response::ranged(&Request { range: Some((first + shift, last)), ..request.clone() }, &content)
    });
    let error = Client::new().read(&server.url("/x"), 0..4000).unwrap_err();
    assert!(said(&error).contains("another range"), "{}", said(&error));
}

#[test]
fn a_size_that_cannot_be_is_an_error() {
    for head in [
        "206 Partial Content\nContent-Range: bytes 0-0/18446744073709551615\nContent-Length: 1",
        "206 Partial Content\nContent-Range: bytes 0-0/9223372036854775808\nContent-Length: 1",
        "206 Partial Content\nContent-Range: bytes 0-0/1125899906842625\nContent-Length: 1",
        "206 Partial Content\nContent-Range: bytes 18446744073709551615-0/5\nContent-Length: 1",
        "206 Partial Content\nContent-Range: bytes 5-4/3\nContent-Length: 1",
        "206 Partial Content\nContent-Range: bytes -/-\nContent-Length: 1",
        "416 Range Not Satisfiable\nContent-Range: bytes */18446744073709551615\nContent-Length: 0",
        "200 OK\nContent-Length: 9223372036854775807",
    ] {
        let server = Server::start(move |_| Response::new(head, b"x"));
        let place = Place::new();
        let mut fields = word_count(1, false);
        fields["input"] = json!({"urls": [server.url("/x.txt")]});
        fields["retries"] = json!(0);
        let error = place.run(fields).unwrap_err();
        assert!(error.to_string().contains(&server.url("/x.txt")), "{head}: {error}");
        assert_eq!(error.kind(), ErrorKind::Permanent, "{head}: {error} {:?}", error.causes());
    }
}

#[test]
fn an_object_that_changes_is_an_error_that_names_it() {
    for (name, kind, _) in KINDS {
        for (before, after, tag) in [
            (&b"before"[..], &b"after!"[..], "ETag: W/\"%\""),
            (b"before", b"after!", "Last-Modified: Mon, 0% Nov 2026 08:00:00 GMT"),
            (b"before", b"after: longer", ""),
            (b"before", b"after", ""),
        ] {
            let looks = if name.starts_with("with ") || name == "without ranges" { 1 } else { 2 };
            let tagged = move |response: Response, n: &str| match tag {
                "" => response,
                tag => response.with(&tag.replace('%', n)),
            };
            let server = serve_after(
                looks,
                move |request| tagged(kind(request, before), "1"),
                move |request| tagged(kind(request, after), "2"),
            );
            let (client, url) = (Client::new(), server.url("/x"));
            let error = client.read(&url, 0..6).unwrap_err();
            let text = said(&error);
            assert!(text.contains(&url), "{text}");
            let ended = error.is_retryable() && text.contains("ended too early");
            assert!(text.contains("changed while the job was reading it") || ended, "{name} {tag}: {text}");
        }
    }
}

#[test]
fn nothing_is_written_to_a_web_server_and_what_is_no_one_object_is_refused() {
    for (field, fields) in [
        ("spec.output.url", json!({"output": {"url": "https://h/out/"}})),
        ("spec.shuffle.url", json!({"shuffle": {"url": "http://h/x/"}})),
        ("spec.input.urls", json!({"input": {"urls": ["https://h/*.txt"]}})),
        ("spec.input.urls", json!({"input": {"urls": ["https://h/folder/"]}})),
    ] {
        let mut all = json!({"map": builtin("identity"), "reduce": {"tasks": 0}});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let error = Place::new().job(all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().starts_with(field), "{error}");
    }
    let server = Server::start(|request| Response::ranged(request, b"x"));
    let client = Client::new();
    let place = client.stores.locate(&server.url("/x")).unwrap();
    assert!(place.store.put(&place.key, Vec::new()).unwrap_err().to_string().contains("only read"));
    assert!(server.asked().is_empty());
}
