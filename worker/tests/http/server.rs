//! A web server on loopback that answers as it is told, byte by byte: well, badly or not at all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// The path and the query, as sent.
    pub target: String,
    /// First and last byte of the range.
    pub range: Option<(usize, usize)>,
}

impl Request {
    /// The range's bytes of a content, as far as there are any, and where they begin.
    pub fn of<'a>(&self, content: &'a [u8]) -> Option<(usize, &'a [u8])> {
        let (first, last) = self.range?;
        Some((first, content.get(first..content.len().min(last + 1)).filter(|part| !part.is_empty())?))
    }
}

/// What is sent: a head's lines, then bytes, then the end of the connection; nothing at all without a head.
pub struct Response {
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(head: &str, body: &[u8]) -> Self {
        Self { head: head.to_owned(), body: body.to_vec() }
    }

    /// All of an object.
    pub fn whole(content: &[u8]) -> Self {
        Self::new(&format!("200 OK\nContent-Length: {}", content.len()), content)
    }

    /// The range that was asked for, or all.
    pub fn ranged(request: &Request, content: &[u8]) -> Self {
        match request.of(content) {
            _ if request.range.is_none() => Self::whole(content),
            None => Self::new(
                &format!(
                    "416 Range Not Satisfiable\nContent-Range: bytes */{}\nContent-Length: 0",
                    content.len()
                ),
                b"",
            ),
            Some((first, part)) => Self::new(
                &format!(
                    "206 Partial Content\nContent-Range: bytes {first}-{}/{}\nContent-Length: {}",
                    first + part.len() - 1,
                    content.len(),
                    part.len()
                ),
                part,
            ),
        }
    }

    /// All of an object in chunks: its length shows at its end.
    pub fn chunked(content: &[u8]) -> Self {
        let mut body = Vec::new();
        for piece in content.chunks(50_000) {
            body.extend(format!("{:x}\r\n", piece.len()).bytes());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        Self::new("200 OK\nTransfer-Encoding: chunked", &body)
    }

    /// All of an object, ended by the connection alone.
    pub fn until_closed(content: &[u8]) -> Self {
        Self::new("200 OK", content)
    }

    pub fn with(mut self, line: &str) -> Self {
        self.head = format!("{}\n{line}", self.head);
        self
    }
}

/// A server; it ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let answer = Arc::new(answer);
        let (log, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    let Some(request) = read_request(&stream) else { return };
                    log.lock().unwrap().push(request.clone());
                    let Response { head, body } = answer(&request);
                    if head.is_empty() {
                        return;
                    }
                    let head = format!("HTTP/1.1 {head}\nConnection: close\n\n").replace('\n', "\r\n");
                    // Who asked may have seen enough.
                    let _ = (&stream).write_all(head.as_bytes()).and_then(|()| (&stream).write_all(&body));
                });
            }
        });
        Self { address, asked, stop }
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut range = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(("range", bytes)) = line.to_lowercase().split_once(": bytes=") {
            let (first, last) = bytes.split_once('-')?;
            range = Some((first.parse().ok()?, last.parse().ok()?));
        }
    }
    Some(Request { method, target, range })
}
