//! A bucket `b` of an S3 server on loopback, in memory, that fails where it is told to. Keys are bytes.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test crate uses its part, and a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

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
    /// It isn't done: this answer, status, headers and body.
    Answer(u16, Vec<(String, String)>, Vec<u8>),
}

/// An upload that is neither completed nor aborted.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    pub key: Vec<u8>,
    pub parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug, Default)]
struct Bucket {
    objects: BTreeMap<Vec<u8>, Vec<u8>>,
    uploads: BTreeMap<String, Upload>,
    ended_uploads: usize,
    asked: Vec<Request>,
}

type Script = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

struct Shared {
    bucket: Mutex<Bucket>,
    script: Mutex<Arc<Script>>,
    page: AtomicUsize,
    stop: AtomicBool,
}

/// The server; it ends when it is dropped.
pub struct S3 {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl S3 {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            bucket: Mutex::default(),
            script: Mutex::new(Arc::new(|_| None)),
            page: AtomicUsize::new(1000),
            stop: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || stream.map(|stream| shared.serve(&stream)));
            }
        });
        Self { address, shared }
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

    /// Objects of a page of a listing.
    pub fn set_page(&self, objects: usize) {
        self.shared.page.store(objects, Ordering::Relaxed);
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

struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(
            status,
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"),
        )
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, mut stream: &TcpStream, is_head: bool) {
        let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name == "Content-Length") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        self.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head += "\r\n";
        // Who asked may have gone.
        let _ = stream.write_all(head.as_bytes());
        if !is_head {
            let _ = stream.write_all(&self.body);
        }
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) {
        let Some(request) = read_request(stream) else { return };
        // One after the other: a script sees requests as they are done.
        let mut bucket = self.bucket.lock().unwrap();
        bucket.asked.push(request.clone());
        let script = Arc::clone(&self.script.lock().unwrap());
        let response = match script(&request) {
            None => bucket.answer(&request, self.page.load(Ordering::Relaxed)),
            Some(Fault::Status(status, code)) => Response::error(status, code),
            Some(Fault::Closed) => return,
            Some(Fault::AnswerLost) => {
                bucket.answer(&request, self.page.load(Ordering::Relaxed));
                return;
            }
            Some(Fault::Answer(status, headers, body)) => Response { status, headers, body },
        };
        drop(bucket);
        response.write(stream, request.method == "HEAD");
    }
}

impl Bucket {
    fn answer(&mut self, request: &Request, page: usize) -> Response {
        if request.key.is_empty() {
            return match request.method.as_str() {
                "GET" if request.asks("list-type") => self.list(request, page),
                "GET" if request.asks("uploads") => self.list_uploads(request),
                "POST" if request.asks("delete") => self.delete_all(request),
                _ => Response::error(405, "MethodNotAllowed"),
            };
        }
        match request.method.as_str() {
            "GET" | "HEAD" => self.read(request),
            "PUT" if request.asks("uploadId") => self.put_part(request),
            "PUT" => self.write(request, request.body.clone()).unwrap_or_else(|refused| refused),
            "POST" if request.asks("uploads") => {
                let id = format!("upload-{}", self.uploads.len() + self.ended_uploads);
                let upload = Upload { key: request.key.clone(), ..Upload::default() };
                self.uploads.insert(id.clone(), upload);
                Response::new(
                    200,
                    format!(
                        "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                    ),
                )
            }
            "POST" if request.asks("uploadId") => self.complete(request),
            "DELETE" if request.asks("uploadId") => match self.uploads.remove(&request.query["uploadId"]) {
                Some(_) => {
                    self.ended_uploads += 1;
                    Response::new(204, "")
                }
                None => Response::error(404, "NoSuchUpload"),
            },
            "DELETE" => {
                self.objects.remove(&request.key);
                Response::new(204, "")
            }
            _ => Response::error(405, "MethodNotAllowed"),
        }
    }

    fn read(&self, request: &Request) -> Response {
        let Some(bytes) = self.objects.get(&request.key) else { return Response::error(404, "NoSuchKey") };
        let etag = etag(bytes);
        if request.headers.get("if-match").is_some_and(|wanted| *wanted != etag) {
            return Response::error(412, "PreconditionFailed");
        }
        let range = request.headers.get("range").and_then(|range| {
            let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
        });
        let response = match range {
            None => Response::new(200, bytes.clone()),
            Some((first, _)) if first >= bytes.len() => return Response::error(416, "InvalidRange"),
            Some((first, last)) => {
                let end = bytes.len().min(last + 1);
                let range = format!("bytes {first}-{}/{}", end - 1, bytes.len());
                Response::new(206, &bytes[first..end]).with("Content-Range", &range)
            }
        };
        response.with("ETag", &etag).with("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
    }

    fn write(&mut self, request: &Request, bytes: Vec<u8>) -> Result<Response, Response> {
        if request.headers.contains_key("if-none-match") && self.objects.contains_key(&request.key) {
            return Err(Response::error(412, "PreconditionFailed"));
        }
        let response = Response::new(200, "").with("ETag", &etag(&bytes));
        self.objects.insert(request.key.clone(), bytes);
        Ok(response)
    }

    fn put_part(&mut self, request: &Request) -> Response {
        let number: u32 = request.query["partNumber"].parse().unwrap();
        if !(1..=10_000).contains(&number) {
            return Response::error(400, "InvalidArgument");
        }
        let Some(upload) = self.uploads.get_mut(&request.query["uploadId"]) else {
            return Response::error(404, "NoSuchUpload");
        };
        upload.parts.insert(number, request.body.clone());
        Response::new(200, "").with("ETag", &etag(&request.body))
    }

    fn complete(&mut self, request: &Request) -> Response {
        let id = &request.query["uploadId"];
        let Some(upload) = self.uploads.get(id) else { return Response::error(404, "NoSuchUpload") };
        let body = String::from_utf8(request.body.clone()).unwrap();
        let numbers = values(&body, "PartNumber");
        let mut bytes = Vec::new();
        for (number, tag) in numbers.iter().zip(values(&body, "ETag")) {
            match upload.parts.get(&number.parse().unwrap()) {
                Some(part) if etag(part) == tag => bytes.extend_from_slice(part),
                _ => return Response::error(400, "InvalidPart"),
            }
        }
        let (id, tag) = (id.clone(), etag(&bytes));
        if let Err(refused) = self.write(request, bytes) {
            return refused;
        }
        self.uploads.remove(&id);
        self.ended_uploads += 1;
        let tag = escaped(tag.as_bytes());
        Response::new(
            200,
            format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"),
        )
    }

    fn delete_all(&mut self, request: &Request) -> Response {
        let mut body = "<DeleteResult>".to_owned();
        for key in values(&String::from_utf8(request.body.clone()).unwrap(), "Key") {
            self.objects.remove(key.as_bytes());
            body += &format!("<Deleted><Key>{}</Key></Deleted>", escaped(key.as_bytes()));
        }
        Response::new(200, body + "</DeleteResult>")
    }

    fn list(&self, request: &Request, page: usize) -> Response {
        let text = |name: &str| request.query.get(name).map(String::as_bytes).unwrap_or_default();
        let (prefix, after) = (text("prefix"), text("continuation-token").max(text("start-after")));
        let delimiter = request.query.get("delimiter").filter(|delimiter| !delimiter.is_empty());
        let below = |key: &Vec<u8>| key.starts_with(prefix);
        let (mut body, mut shown, mut last, mut more) = (String::new(), 0, Vec::new(), false);
        let mut common: Vec<u8> = Vec::new();
        for (key, bytes) in self.objects.iter().filter(|(key, _)| below(key) && key.as_slice() > after) {
            let name = &key[prefix.len()..];
            let cut = delimiter.and_then(|d| name.windows(d.len()).position(|w| w == d.as_bytes()));
            let folder = cut.map(|at| key[..=prefix.len() + at].to_vec());
            if folder.as_ref().is_some_and(|folder| *folder == common) {
                last.clone_from(key);
                continue;
            }
            if shown == page {
                more = true;
                break;
            }
            shown += 1;
            last.clone_from(key);
            match folder {
                Some(folder) => {
                    body +=
                        &format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(&folder));
                    common = folder;
                }
                None => {
                    body += &format!(
                        "<Contents><Key>{}</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                        escaped(key),
                        escaped(etag(bytes).as_bytes()),
                        bytes.len()
                    );
                }
            }
        }
        let token = if more {
            format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(&last))
        } else {
            String::new()
        };
        let head = format!("<IsTruncated>{more}</IsTruncated>{token}");
        Response::new(
            200,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult>{head}{body}</ListBucketResult>"
            ),
        )
    }

    fn list_uploads(&self, request: &Request) -> Response {
        let prefix = request.query.get("prefix").map(String::as_bytes).unwrap_or_default();
        let uploads = self.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
        let body: String = uploads
            .map(|(id, upload)| {
                format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", escaped(&upload.key))
            })
            .collect();
        Response::new(
            200,
            format!(
                "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{body}</ListMultipartUploadsResult>"
            ),
        )
    }
}

/// What an object's ETag is: the same for the same bytes, as for what is written in one request.
pub fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:032x}\"", hasher.finish())
}

fn escaped(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            c if c.is_control() => escaped += &format!("&#{};", u32::from(c)),
            c => escaped.push(c),
        }
    }
    escaped
}

/// What stands in the elements of this name.
fn values(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let inside = |rest: &str| {
        let text = rest.split(&close).next().unwrap_or_default();
        text.replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&")
    };
    xml.split(&open).skip(1).map(inside).collect()
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
