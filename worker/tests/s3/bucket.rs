//! What is in the bucket, and how requests of it are answered.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::net::TcpStream;

use super::Request;

/// The least bytes of a part but the last.
const MIN_PART_BYTES: usize = 5 << 20;

/// An upload that is neither completed nor aborted.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    pub key: Vec<u8>,
    pub parts: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) uploads: BTreeMap<String, Upload>,
    ended_uploads: usize,
    pub(super) asked: Vec<Request>,
}

pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::new(
            status,
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"),
        )
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn write(&self, mut stream: &TcpStream, is_head: bool) {
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

impl Bucket {
    pub(super) fn answer(&mut self, request: &Request, page: usize) -> Response {
        if request.key.is_empty() {
            return match request.method.as_str() {
                "GET" if request.asks("list-type") => self.list(request, page),
                "GET" if request.asks("uploads") => self.list_uploads(request, page),
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
        let sizes: Vec<usize> = upload.parts.values().map(Vec::len).collect();
        if sizes.iter().rev().skip(1).any(|&size| size < MIN_PART_BYTES) {
            return Response::error(400, "EntityTooSmall");
        }
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

    fn list_uploads(&self, request: &Request, page: usize) -> Response {
        let text = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let (prefix, after) =
            (text("prefix").into_bytes(), (text("key-marker").into_bytes(), text("upload-id-marker")));
        let mut uploads: Vec<(&Vec<u8>, &String)> =
            self.uploads.iter().map(|(id, upload)| (&upload.key, id)).collect();
        uploads.sort_unstable();
        uploads.retain(|(key, id)| key.starts_with(&prefix) && (*key, *id) > (&after.0, &after.1));
        let more = uploads.len() > page;
        uploads.truncate(page);
        let next = uploads.last().filter(|_| more).map(|(key, id)| {
            let key = escaped(key);
            format!("<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>")
        });
        let uploads: Vec<String> = uploads
            .iter()
            .map(|(key, id)| format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", escaped(key)))
            .collect();
        let (body, next) = (uploads.concat(), next.unwrap_or_default());
        Response::new(
            200,
            format!(
                "<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated>{next}{body}</ListMultipartUploadsResult>"
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
