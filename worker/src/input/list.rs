//! Which objects a job reads: the URLs of `spec.input`, as objects, prefixes or globs.

use std::collections::HashSet;

use globset::{GlobBuilder, GlobMatcher};
use mapreduce_api::v1alpha1::Input;

use crate::error::{Error, Result};
use crate::storage::{Entry, Location, Scheme, Stores};

/// An object of the input.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its URL.
    pub url: String,
    /// Its name, size and version.
    pub entry: Entry,
    /// Where it is.
    pub location: Location,
}

/// Lists the input, in the order of the URLs and below each by name; each object once.
pub fn list(input: &Input, stores: &Stores) -> Result<Vec<Object>> {
    let mut seen = HashSet::new();
    let mut objects = Vec::new();
    for url in &input.urls {
        let found = matching(url, input, stores)?;
        if found.is_empty() && !input.allow_empty {
            return Err(Error::permanent(format!("{url} matches no object"))
                .because("correct spec.input.urls, or set spec.input.allowEmpty: true"));
        }
        objects.extend(found.into_iter().filter(|object| seen.insert(object.url.clone())));
    }
    Ok(objects)
}

fn matching(url: &str, input: &Input, stores: &Stores) -> Result<Vec<Object>> {
    let place = stores.locate(url)?;
    let object = |entry: Entry| Object {
        url: place.url(&entry.key),
        location: Location { key: entry.key.clone(), ..place.clone() },
        entry,
    };
    if Stores::parse(url)?.0 == Scheme::Http {
        // It is one object's: what is behind a `?` is no pattern.
        return Ok(place.store.head(&place.key)?.into_iter().map(object).collect());
    }
    let glob = place.key.find(['*', '?', '[', '{']);
    let (prefix, recursive, pattern) = match glob {
        None if place.key.is_empty() || place.key.ends_with('/') => {
            (place.key.as_str(), input.recursive, None)
        }
        None => {
            let found = place.store.head(&place.key)?;
            if found.is_none() && !place.store.list(&format!("{}/", place.key), false)?.is_empty() {
                return Err(Error::permanent(format!(
                    "{url} is a folder: write {url}/ to read what is in it"
                )));
            }
            return Ok(found.into_iter().map(object).collect());
        }
        Some(at) => {
            let fixed = place.key[..at].rfind('/').map_or(0, |slash| slash + 1);
            let (prefix, tail) = place.key.split_at(fixed);
            (prefix, tail.contains('/') || tail.contains("**"), Some(compile(url, tail)?))
        }
    };
    let mut entries = place.store.list(prefix, recursive)?;
    entries.retain(|entry| {
        let below = &entry.key[prefix.len()..];
        // Object stores keep empty objects named as folders: they are no input.
        let object = !below.is_empty() && !below.ends_with('/');
        let shown = !input.ignore_hidden || !is_hidden(below);
        object && shown && pattern.as_ref().is_none_or(|glob| glob.is_match(below))
    });
    if entries.is_empty() && glob.is_some() {
        // A name may hold a glob's characters.
        entries.extend(place.store.head(&place.key)?);
    }
    Ok(entries.into_iter().map(object).collect())
}

fn compile(url: &str, pattern: &str) -> Result<GlobMatcher> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|e| Error::usage(format!("`{url}` is no glob: {}", e.kind())))
}

/// Checks the URLs' form without reaching anything.
pub fn check_urls(input: &Input) -> Result<()> {
    for url in &input.urls {
        let (scheme, path) = Stores::parse(url)?;
        if scheme != Scheme::Http && path.contains(['*', '?', '[', '{']) {
            compile(url, path)?;
        }
    }
    Ok(())
}

/// Whether a segment of a path below a prefix begins with `_` or `.`.
fn is_hidden(below: &str) -> bool {
    below.split('/').any(|segment| segment.starts_with(['_', '.']))
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
        ] {
            assert_eq!(names(dir.path(), serde_json::json!({"urls": [url]})).unwrap(), expected, "{url}");
        }
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
