//! A bucket `b` of an S3 server on loopback, in memory, that fails where it is told to. Keys are bytes.
#![allow(dead_code, reason = "each test crate uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

mod bucket;
mod signature;

pub use bucket::Upload;
use bucket::{Bucket, Response};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// The path and the query, as sent.
    pub target: String,
    /// The key, decoded; empty for the bucket.
    pub key: Vec<u8>,
    /// The query's parameters, decoded.
    pub query: BTreeMap<String, String>,
    /// By name in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn key(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    pub fn asks(&self, name: &str) -> bool {
        self.query.contains_key(name)
    }

    /// Whether it writes an object in one request.
    pub fn is_put(&self) -> bool {
        self.method == "PUT" && !self.asks("uploadId")
    }

    /// Whether it writes an object where there is none.
    pub fn is_create(&self) -> bool {
        self.is_put() && self.headers.contains_key("if-none-match")
    }

    pub fn is_list(&self) -> bool {
        self.method == "GET" && self.asks("list-type")
    }
}

/// What goes wrong with a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It isn't done: this status and code.
    Status(u16, &'static str),
    /// It isn't done, and the connection ends.
    Closed,
    /// It is done, but the connection ends before the answer.
    AnswerLost,
    /// It is done when somebody else has just written this.
    Behind(&'static str, &'static [u8]),
    /// It isn't done: this answer, status, headers and body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
}

/// How a server is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// Nothing listens, for a moment.
    Refuses,
    /// Connections are ended before anything was read.
    Resets,
    /// Connections are held, and nothing is said.
    Hangs,
    /// This status and code.
    Answers(u16, &'static str),
}

/// A server that is away, or will be.
struct Absence {
    meant: Box<dyn Fn(&Request) -> bool + Send + Sync>,
    how: Away,
    /// Requests until it is back.
    left: usize,
    has_begun: bool,
    /// Connections that are held.
    held: Vec<TcpStream>,
}

type Script = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

struct Shared {
    bucket: Mutex<Bucket>,
    script: Mutex<Arc<Script>>,
    page: AtomicUsize,
    ignores_conditions: AtomicBool,
    /// What requests have to be signed with.
    secret: Mutex<Option<String>>,
    absence: Mutex<Option<Absence>>,
    turned_away: AtomicUsize,
    stop: AtomicBool,
}

/// The server; it ends when it is dropped.
pub struct S3 {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl S3 {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    pub fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            bucket: Mutex::default(),
            script: Mutex::new(Arc::new(|_| None)),
            page: AtomicUsize::new(1000),
            ignores_conditions: AtomicBool::new(false),
            secret: Mutex::default(),
            absence: Mutex::default(),
            turned_away: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || listen(listener, &serving));
        Self { address, shared }
    }

    /// Is away from the first request on that is meant, until so many more were turned away.
    pub fn goes_away(
        &self,
        meant: impl Fn(&Request) -> bool + Send + Sync + 'static,
        how: Away,
        requests: usize,
    ) {
        let absence =
            Absence { meant: Box::new(meant), how, left: requests, has_begun: false, held: Vec::new() };
        *self.shared.absence.lock().unwrap() = Some(absence);
    }

    /// Requests, or attempts at a connection, that found it away.
    pub fn turned_away(&self) -> usize {
        self.shared.turned_away.load(Ordering::Relaxed)
    }

    /// Whether it is back from where it was to go.
    pub fn is_back(&self) -> bool {
        self.shared.absence.lock().unwrap().is_none()
    }

    /// For `storage.s3.endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says which requests go wrong from now on. It is asked in the order in which they come.
    pub fn on(&self, script: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap() = Arc::new(script);
    }

    /// Lets the first request that is meant go wrong.
    pub fn once(&self, meant: impl Fn(&Request) -> bool + Send + Sync + 'static, fault: Fault) {
        let done = AtomicBool::new(false);
        self.on(move |request| {
            (meant(request) && !done.swap(true, Ordering::Relaxed)).then(|| fault.clone())
        });
    }

    /// Refuses from now on what is not signed with this secret.
    pub fn check_signatures(&self, secret: &str) {
        *self.shared.secret.lock().unwrap() = Some(secret.to_owned());
    }

    /// Objects of a page of a listing.
    pub fn set_page(&self, objects: usize) {
        self.shared.page.store(objects, Ordering::Relaxed);
    }

    /// Reads past conditions of writes from now on, as some servers do.
    pub fn ignore_conditions(&self) {
        self.shared.ignores_conditions.store(true, Ordering::Relaxed);
    }

    pub fn put(&self, key: impl AsRef<[u8]>, bytes: impl AsRef<[u8]>) {
        self.bucket().objects.insert(key.as_ref().to_vec(), bytes.as_ref().to_vec());
    }

    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.bucket().objects.get(key.as_ref()).cloned()
    }

    pub fn keys(&self) -> Vec<String> {
        self.bucket().objects.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
    }

    /// Uploads that are neither completed nor aborted, by id.
    pub fn uploads(&self) -> BTreeMap<String, Upload> {
        self.bucket().uploads.clone()
    }

    /// The requests so far, those that went wrong too.
    pub fn asked(&self) -> Vec<Request> {
        self.bucket().asked.clone()
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.shared.bucket.lock().unwrap()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// How long nothing listens.
const REFUSAL: Duration = Duration::from_millis(200);

fn listen(mut listener: TcpListener, shared: &Arc<Shared>) {
    let address = listener.local_addr().unwrap();
    loop {
        let Ok((stream, _)) = listener.accept() else { continue };
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        match shared.away() {
            None => {
                let shared = Arc::clone(shared);
                std::thread::spawn(move || shared.serve(&stream));
            }
            Some(Away::Refuses) => {
                drop((stream, listener));
                assert!(TcpStream::connect(address).is_err(), "something listens");
                shared.turns_away(None);
                std::thread::sleep(REFUSAL);
                *shared.absence.lock().unwrap() = None;
                listener = TcpListener::bind(address).unwrap();
            }
            Some(Away::Resets) => {
                drop(stream);
                shared.turns_away(None);
            }
            Some(Away::Hangs) => shared.turns_away(Some(stream)),
            Some(Away::Answers(status, code)) => {
                shared.turns_away(None);
                std::thread::spawn(move || {
                    let is_head = read_request(&stream).is_some_and(|request| request.method == "HEAD");
                    Response::error(status, code).write(&stream, is_head);
                });
            }
        }
    }
}

impl Shared {
    /// How the server is away, if it is.
    fn away(&self) -> Option<Away> {
        self.absence.lock().unwrap().as_ref().filter(|absence| absence.has_begun).map(|absence| absence.how)
    }

    fn turns_away(&self, held: Option<TcpStream>) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        let mut absence = self.absence.lock().unwrap();
        if let Some(Absence { left, held: all, .. }) = &mut *absence {
            all.extend(held);
            *left -= 1;
            if *left == 0 {
                *absence = None;
            }
        }
    }

    /// Whether this request is the first that is not answered.
    fn leaves(&self, request: &Request) -> bool {
        let mut absence = self.absence.lock().unwrap();
        let Some(absence) = absence.as_mut().filter(|absence| !absence.has_begun) else { return false };
        absence.has_begun = (absence.meant)(request);
        absence.has_begun
    }

    fn serve(&self, stream: &TcpStream) {
        let Some(mut request) = read_request(stream) else { return };
        if self.leaves(&request) {
            if self.away() == Some(Away::Refuses) {
                // Who listens hears of it.
                drop(TcpStream::connect(stream.local_addr().unwrap()));
            }
            return;
        }
        // One after the other: a script sees requests as they are done.
        let mut bucket = self.bucket.lock().unwrap();
        bucket.asked.push(request.clone());
        let script = Arc::clone(&self.script.lock().unwrap());
        let secret = self.secret.lock().unwrap().clone();
        let is_signed = secret.is_none_or(|secret| signature::is_right(&request, &secret));
        let fault = script(&request);
        if self.ignores_conditions.load(Ordering::Relaxed) {
            request.headers.remove("if-none-match");
        }
        let response = match fault {
            _ if !is_signed => Response::error(403, "SignatureDoesNotMatch"),
            None => bucket.answer(&request, self.page.load(Ordering::Relaxed)),
            Some(Fault::Status(status, code)) => Response::error(status, code),
            Some(Fault::Closed) => return,
            Some(Fault::AnswerLost) => {
                bucket.answer(&request, self.page.load(Ordering::Relaxed));
                return;
            }
            Some(Fault::Behind(key, bytes)) => {
                bucket.objects.insert(key.into(), bytes.to_vec());
                bucket.answer(&request, self.page.load(Ordering::Relaxed))
            }
            Some(Fault::Answer(status, headers, body)) => Response { status, headers, body },
        };
        drop(bucket);
        response.write(stream, request.method == "HEAD");
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, text) = (Vec::new(), text.as_bytes());
    let mut at = 0;
    while at < text.len() {
        let hex = (text[at] == b'%').then(|| std::str::from_utf8(&text[at + 1..at + 3]).unwrap());
        bytes.push(hex.map_or(text[at], |hex| u8::from_str_radix(hex, 16).unwrap()));
        at += if hex.is_some() { 3 } else { 1 };
    }
    bytes
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|&read| read > 0).map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let key = path.strip_prefix("/b").map(|key| decoded(key.strip_prefix('/').unwrap_or(key)))?;
    let text = |text: &str| String::from_utf8(decoded(&text.replace('+', " "))).unwrap();
    let query = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (text(name), text(value)))
        .collect();
    Some(Request { method, target: target.clone(), key, query, headers, body })
}
