//! URLs, taken apart without reaching anything.

use std::path::Path;

use crate::error::{Error, Result};

/// The kinds of URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `file:`
    File,
    /// `s3://`
    S3,
    /// `http://` and `https://`: one object, which is only read.
    Http,
}

/// What a URL says of where something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The kind.
    pub scheme: Scheme,
    /// What a key is appended to for a URL: `s3://bucket/`, `file://`.
    pub base: String,
    /// The key: below the bucket, or an absolute path.
    pub key: String,
}

impl Address {
    /// Takes a URL apart. Relative `file:` URLs are below `folder`.
    ///
    /// # Errors
    ///
    /// As [`parse_url`].
    pub fn of(url: &str, folder: &Path) -> Result<Self> {
        let (scheme, rest) = parse_url(url)?;
        let (base, key) = match scheme {
            Scheme::File if rest.starts_with('/') => ("file://".to_owned(), tidy(rest)),
            Scheme::File => {
                let folder = folder.to_str().ok_or_else(|| {
                    Error::usage(format!("the name of the folder {} is not valid UTF-8", folder.display()))
                })?;
                ("file://".to_owned(), tidy(&format!("{}/{rest}", folder.trim_end_matches('/'))))
            }
            Scheme::S3 => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                (format!("s3://{bucket}/"), key.to_owned())
            }
            Scheme::Http => {
                let (base, key) = split_http(url);
                (base.to_owned(), key.to_owned())
            }
        };
        Ok(Self { scheme, base, key })
    }

    /// This place as a prefix: its key ends in `/` (or is empty, for a whole bucket).
    #[must_use]
    pub fn as_prefix(mut self) -> Self {
        if !self.key.is_empty() && !self.key.ends_with('/') {
            self.key.push('/');
        }
        self
    }
}

/// Takes a URL apart without reaching anything.
///
/// # Errors
///
/// A usage error for a text that is not a valid URL of a kind that we know.
pub fn parse_url(url: &str) -> Result<(Scheme, &str)> {
    if let Some(rest) = url.strip_prefix("s3://") {
        let bucket = rest.split('/').next().unwrap_or_default();
        if bucket.is_empty() {
            return Err(Error::usage(format!("`{url}` names no bucket: write s3://bucket/key")));
        }
        return Ok((Scheme::S3, rest));
    }
    if let Some(path) = url.strip_prefix("file://").or_else(|| url.strip_prefix("file:")) {
        if path.is_empty() {
            return Err(Error::usage(format!("`{url}` names no file: write file:///folder/name")));
        }
        return Ok((Scheme::File, path));
    }
    if url.starts_with("http://") || url.starts_with("https://") {
        check_http(url)?;
        return Ok((Scheme::Http, url));
    }
    Err(Error::usage(format!(
        "`{url}` is not a URL that can be read or written: use file:// or s3://, or https:// for input"
    )))
}

/// Takes apart a URL that something is to be written to.
///
/// # Errors
///
/// A usage error, as [`parse_url`]'s, also for what can only be read.
pub fn parse_writable_url(url: &str) -> Result<(Scheme, &str)> {
    match parse_url(url)? {
        (Scheme::Http, _) => Err(Error::usage(format!(
            "`{url}` can only be read: a web server takes no output, use file:// or s3://"
        ))),
        parsed => Ok(parsed),
    }
}

/// The signs that make a pattern of a path.
pub const GLOB_SIGNS: [char; 4] = ['*', '?', '[', '{'];

/// Checks the URL of one object of a web server.
fn check_http(url: &str) -> Result<()> {
    let fail = |why: &str| Err(Error::usage(format!("`{url}` {why}")));
    let parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(error) => return fail(&format!("is not a valid URL: {error}")),
    };
    let (_, key) = split_http(url);
    let path = key.split('?').next().unwrap_or_default();
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return fail(
            "holds a user's name or password, which every message about it would show: leave them out",
        );
    }
    if url.contains('#') {
        return fail("holds a `#`, which is not part of an object's URL: write %23");
    }
    if let Some(at) = path.find(GLOB_SIGNS) {
        let sign = &path[at..=at];
        return fail(&format!(
            "holds a `{sign}`, but a web server has no list of its objects to match: name each object, or write %{:02X} for the sign",
            path.as_bytes()[at]
        ));
    }
    if key.is_empty() || path.ends_with('/') && path.len() == key.len() {
        return fail("is a prefix, but a web server has no list of its objects: name each object");
    }
    Ok(())
}

/// `https://host:port/` and what follows it.
fn split_http(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    match url[host..].find(['/', '?']) {
        Some(at) => url.split_at(host + at + usize::from(url.as_bytes()[host + at] == b'/')),
        None => (url, ""),
    }
}

/// Takes `.` and empty segments out of a path and resolves `..` by name, keeping a `/` at its end.
fn tidy(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let end = if folder && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{Scheme, parse_url, parse_writable_url, tidy};
    use crate::error::ErrorKind;

    #[test]
    fn a_path_is_tidied_by_name() {
        for (path, tidied) in [
            ("/a/./b//c", "/a/b/c"),
            ("/a/../b/", "/b/"),
            ("/a/b/..", "/a/"),
            ("/", "/"),
            ("/a%20b/*.txt", "/a%20b/*.txt"),
        ] {
            assert_eq!(tidy(path), tidied, "{path}");
        }
    }

    #[test]
    fn a_bad_url_is_a_usage_error_that_shows_it() {
        for url in [
            "books/x",
            "ftp://h/x",
            "s3:///k",
            "s3://",
            "file:",
            "http://",
            "http://h",
            "https://h/",
            "https://h/folder/",
            "https://h:99999/x",
            "https://h/*.txt",
            "https://h/x{1,2}",
            "https://user:secret@h/x",
            "https://h/x#part",
        ] {
            let error = parse_url(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(url), "{error}");
        }
        assert_eq!(parse_url("s3://b/k%2f").unwrap(), (Scheme::S3, "b/k%2f"));
        assert_eq!(parse_url("file:../x").unwrap(), (Scheme::File, "../x"));
        for url in ["http://h:80/a b", "https://h/x?signed=1&of=a/*", "http://[::1]/x", "http://h/?n=1"] {
            assert_eq!(parse_url(url).unwrap(), (Scheme::Http, url));
        }
        assert_eq!(parse_writable_url("https://h/x").unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn a_web_servers_url_is_its_host_and_the_rest_as_written() {
        for (url, parts) in [
            ("http://h/a/b", ("http://h/", "a/b")),
            ("https://h:8/a?b=/c", ("https://h:8/", "a?b=/c")),
            ("http://h?q", ("http://h", "?q")),
        ] {
            assert_eq!(super::split_http(url), parts);
        }
    }
}
