//! Which objects a job reads: the URLs of `spec.input`, as objects, prefixes or globs.

use std::collections::HashSet;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use mapreduce_api::v1alpha1::Input;

use crate::error::{Error, Result};
use crate::storage::{Address, GLOB_SIGNS, ListedObject, Listing, Location, Scheme, Stores, parse_url};

/// An object of the input.
#[derive(Clone, Debug)]
pub struct Object {
    /// The URL.
    pub url: String,
    /// The name, size and version.
    pub entry: ListedObject,
    /// Where it is.
    pub location: Location,
}

/// Lists the input, in the order of the URLs and below each by name; each object once.
pub fn list(input: &Input, stores: &Stores) -> Result<Vec<Object>> {
    let mut seen = HashSet::new();
    let mut objects = Vec::new();
    for url in &input.urls {
        let Matching { objects: found, dangling, streams } = matching(url, input, stores)?;
        if found.is_empty() && !input.allow_empty {
            let mut error = Error::permanent(format!("{url} matches no object"));
            if dangling > 0 {
                let (links, lead) = if dangling == 1 { ("link", "leads") } else { ("links", "lead") };
                error = error.because(format_args!("{dangling} {links} that it matches {lead} nowhere"));
            }
            if streams > 0 {
                let many = if streams == 1 {
                    "1 FIFO or device that it matches is".into()
                } else {
                    format!("{streams} FIFOs or devices that it matches are")
                };
                error = error.because(format_args!("{many} not read: a stream is named by itself"));
            }
            return Err(error.because("correct spec.input.urls, or set spec.input.allowEmpty: true"));
        }
        objects.extend(found.into_iter().filter(|object| seen.insert(object.url.clone())));
    }
    Ok(objects)
}

/// What a URL matches.
struct Matching {
    objects: Vec<Object>,
    /// Links beside them that lead nowhere.
    dangling: usize,
    /// FIFOs and devices beside them.
    streams: usize,
}

fn matching(url: &str, input: &Input, stores: &Stores) -> Result<Matching> {
    let (scheme, path) = parse_url(url)?;
    // An HTTP URL names one object: a `?` begins its query.
    let pattern = if scheme == Scheme::Http { "" } else { pattern(path) };
    let place = stores.locate(url)?;
    let object = |entry: ListedObject| Object {
        url: place.url(&entry.key),
        location: Location { key: entry.key.clone(), ..place.clone() },
        entry,
    };
    let is_prefix = place.key.is_empty() || place.key.ends_with('/');
    if scheme == Scheme::Http || (pattern.is_empty() && !is_prefix) {
        let found = place.store.head(&place.key)?;
        if found.is_none()
            && scheme != Scheme::Http
            && !place.store.list(&format!("{}/", place.key), false)?.is_empty()
        {
            return Err(Error::permanent(format!("{url} is a folder: write {url}/ to read what is in it")));
        }
        let objects = found.into_iter().map(object).collect();
        return Ok(Matching { objects, dangling: 0, streams: 0 });
    }
    let glob = Glob::new(url, pattern, input)?;
    let start = stores.locate(fixed_part(url, pattern))?;
    let prefix = &*start.key;
    let recursive = if pattern.is_empty() { input.recursive } else { glob.goes_deeper };
    let is_meant = |key: &str| {
        let Some(below) = key.strip_prefix(prefix) else { return false };
        (!input.ignore_hidden || !glob.hides(below)) && glob.matches(below)
    };
    let Listing { mut entries, unnamed, mut dangling, mut streams } =
        place.store.survey(prefix, recursive)?;
    if let Some(name) = unnamed.iter().find(|name| is_meant(name)) {
        return Err(Error::permanent(format!("the name of {} is not valid UTF-8", place.url(name))).because(
            "rename it, or leave it out by a pattern: objects are known by their URLs, which are text",
        ));
    }
    dangling.retain(|key| is_meant(key));
    if let Some(first) = dangling.first() {
        let (links, first) = (dangling.len(), place.url(first));
        tracing::warn!(url, links, first, "Links that lead nowhere are not read.");
    }
    streams.retain(|key| is_meant(key));
    if let Some(first) = streams.first() {
        let (streams, first) = (streams.len(), place.url(first));
        tracing::warn!(url, streams, first, "FIFOs and devices are read only where a URL names them.");
    }
    entries.retain(|entry| is_meant(&entry.key));
    if entries.is_empty() && !pattern.is_empty() && !is_prefix {
        // A name may hold a glob's characters.
        entries.extend(place.store.head(&place.key)?);
    }
    let objects = entries.into_iter().map(object).collect();
    Ok(Matching { objects, dangling: dangling.len(), streams: streams.len() })
}

/// A URL without its pattern. The folder that a relative URL is below is none of it.
fn fixed_part<'a>(url: &'a str, pattern: &str) -> &'a str {
    match url.strip_suffix(pattern) {
        Some("file:") if !pattern.is_empty() => "file:./",
        Some(fixed) if !pattern.is_empty() => fixed,
        _ => url,
    }
}

/// Where the fixed part of a URL is: an object, a prefix or the folder of a glob.
pub fn fixed_place(url: &str, folder: &Path) -> Result<Address> {
    let (scheme, path) = parse_url(url)?;
    let pattern = if scheme == Scheme::Http { "" } else { pattern(path) };
    Address::of(fixed_part(url, pattern), folder)
}

/// What of a path is a pattern: from the first segment on that has one of its signs.
fn pattern(path: &str) -> &str {
    match path.find(GLOB_SIGNS) {
        Some(at) => &path[path[..at].rfind('/').map_or(0, |slash| slash + 1)..],
        None => "",
    }
}

/// What objects below a prefix are to match.
struct Glob {
    /// None where all do.
    whole: Option<GlobMatcher>,
    /// Those segments of the pattern that begin as hidden names do: whoever wrote them means them.
    hidden: Vec<GlobMatcher>,
    goes_deeper: bool,
}

impl Glob {
    fn new(url: &str, pattern: &str, input: &Input) -> Result<Self> {
        if pattern.is_empty() {
            return Ok(Self { whole: None, hidden: Vec::new(), goes_deeper: true });
        }
        let is_said = |segment: &&str| !matches!(*segment, "" | ".");
        let mut segments: Vec<&str> = pattern.split('/').filter(is_said).collect();
        let hidden = segments.iter().filter(|segment| segment.starts_with(HIDDEN));
        let hidden = hidden.filter_map(|segment| compile(url, segment).ok()).collect();
        if pattern.ends_with('/') {
            // Of a prefix that is a pattern, all that is below is meant.
            segments.push(if input.recursive { "**" } else { "*" });
        }
        let pattern = segments.join("/");
        let goes_deeper = segments.len() > 1 || pattern.contains("**");
        Ok(Self { whole: Some(compile(url, &pattern)?), hidden, goes_deeper })
    }

    fn matches(&self, below: &str) -> bool {
        self.whole.as_ref().is_none_or(|glob| glob.is_match(below))
    }

    /// Whether a segment of a path below the prefix is hidden.
    fn hides(&self, below: &str) -> bool {
        let mut hidden = below.split('/').filter(|segment| segment.starts_with(HIDDEN));
        hidden.any(|segment| !self.hidden.iter().any(|meant| meant.is_match(segment)))
    }
}

/// What hidden names begin with.
const HIDDEN: [char; 2] = ['_', '.'];

fn compile(url: &str, pattern: &str) -> Result<GlobMatcher> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|e| Error::usage(format!("`{url}` is not a valid glob: {}", e.kind())))
}

/// Checks the URLs' form without reaching anything.
pub fn check_urls(input: &Input) -> Result<()> {
    for url in &input.urls {
        let (scheme, path) = parse_url(url)?;
        if scheme != Scheme::Http && !pattern(path).is_empty() {
            compile(url, pattern(path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mapreduce_api::v1alpha1::{Input, Storage};
    use tokio_util::sync::CancellationToken;

    use super::list;
    use crate::error::Result;
    use crate::storage::Stores;

    fn names(dir: &Path, input: serde_json::Value) -> Result<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stores = Stores::new(Storage::default(), dir, runtime.handle().clone(), CancellationToken::new());
        let input: Input = serde_json::from_value(input).unwrap();
        let base = format!("file://{}/", dir.display());
        Ok(list(&input, &stores)?
            .into_iter()
            .map(|o| o.url.strip_prefix(&base).unwrap().to_owned())
            .collect())
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.txt", "b.csv", "d/c.txt", "d/e/f.txt", "_h/x.txt", ".k", "d/_part", "q[1].txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        dir
    }

    #[test]
    fn objects_prefixes_and_globs_find_what_they_name() {
        let dir = tree();
        for (url, expected) in [
            ("file:a.txt", vec!["a.txt"]),
            ("file:./", vec!["a.txt", "b.csv", "d/c.txt", "d/e/f.txt", "q[1].txt"]),
            ("file:*.txt", vec!["a.txt", "q[1].txt"]),
            ("file:**/*.txt", vec!["a.txt", "d/c.txt", "d/e/f.txt", "q[1].txt"]),
            ("file:d/*/f.txt", vec!["d/e/f.txt"]),
            ("file:?.{txt,csv}", vec!["a.txt", "b.csv"]),
            ("file:[a-b].*", vec!["a.txt", "b.csv"]),
            ("file:_h/", vec!["_h/x.txt"]),
            ("file:d/_part", vec!["d/_part"]),
            ("file:q[1].txt", vec!["q[1].txt"]),
            ("file:_*/x.txt", vec!["_h/x.txt"]),
            ("file:.k*", vec![".k"]),
            ("file:d/_p*", vec!["d/_part"]),
            ("file:[d]/", vec!["d/c.txt", "d/e/f.txt"]),
            ("file:d/../?.txt", vec!["a.txt"]),
            ("file:./[d]//./c.txt", vec!["d/c.txt"]),
        ] {
            assert_eq!(names(dir.path(), serde_json::json!({"urls": [url]})).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn signs_in_the_manifests_folder_are_no_pattern() {
        let dir = tree();
        for folder in ["run[1]", "run1", "g{a", "what?"] {
            std::fs::create_dir_all(dir.path().join(folder).join("in")).unwrap();
            std::fs::write(dir.path().join(folder).join("in/x.txt"), folder).unwrap();
            let folder = dir.path().join(folder);
            for url in ["file:in/x.txt", "file:in/", "file:in/*.txt", "file:./i?/x.txt"] {
                let found = names(&folder, serde_json::json!({"urls": [url]})).unwrap();
                assert_eq!(found, ["in/x.txt"], "{} {url}", folder.display());
            }
        }
    }

    #[test]
    fn names_that_are_no_text_are_an_error_only_where_they_are_meant() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tree();
        let write =
            |name: &[u8]| std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
        let input = |url: &str| serde_json::json!({"urls": [url]});
        write(b".h\xff.txt");
        write(b"_\xfe");
        assert_eq!(names(dir.path(), input("file:*.txt")).unwrap(), ["a.txt", "q[1].txt"]);
        assert_eq!(names(dir.path(), input("file:./")).unwrap().len(), 5);
        write(b"x\xff.csv");
        assert_eq!(names(dir.path(), input("file:*.txt")).unwrap(), ["a.txt", "q[1].txt"]);
        for url in ["file:*.csv", "file:./"] {
            let error = names(dir.path(), input(url)).unwrap_err();
            assert!(error.to_string().contains(r"/x\xff.csv is not valid UTF-8"), "{error}");
        }
        let all = serde_json::json!({"urls": ["file:*.txt"], "ignoreHidden": false});
        assert!(names(dir.path(), all).unwrap_err().to_string().contains(r"/.h\xff.txt"));
    }

    #[test]
    fn links_that_lead_nowhere_are_left_out() {
        let dir = tree();
        std::os::unix::fs::symlink("nowhere", dir.path().join("z.txt")).unwrap();
        let found = names(dir.path(), serde_json::json!({"urls": ["file:*.txt"]})).unwrap();
        assert_eq!(found, ["a.txt", "q[1].txt"]);
        let error = names(dir.path(), serde_json::json!({"urls": ["file:z.*"]})).unwrap_err();
        assert_eq!(error.causes()[0], "1 link that it matches leads nowhere");
    }

    #[test]
    fn an_object_that_is_matched_twice_is_read_once() {
        let dir = tree();
        let found = names(dir.path(), serde_json::json!({"urls": ["file:a.txt", "file:*.txt"]})).unwrap();
        assert_eq!(found, ["a.txt", "q[1].txt"]);
    }

    #[test]
    fn a_url_without_an_object_is_named_unless_empty_is_allowed() {
        let dir = tree();
        let error = names(dir.path(), serde_json::json!({"urls": ["file:no/*.x"]})).unwrap_err();
        assert!(error.to_string().contains("file:no/*.x"), "{error}");
        let found = names(dir.path(), serde_json::json!({"urls": ["file:no/*.x"], "allowEmpty": true}));
        assert!(found.unwrap().is_empty());
        let error = names(dir.path(), serde_json::json!({"urls": ["file:d"]})).unwrap_err();
        assert!(error.to_string().contains("file:d/"), "{error}");
    }

    #[test]
    fn hidden_names_are_read_and_folders_left_out_when_the_manifest_says_so() {
        let dir = tree();
        let input = serde_json::json!({"urls": ["file:./"], "ignoreHidden": false, "recursive": false});
        assert_eq!(names(dir.path(), input).unwrap(), [".k", "a.txt", "b.csv", "q[1].txt"]);
    }
}
