//! What `output.ifExists: Replace` may remove: what earlier runs left, and nothing else.
//!
//! ```text
//!  <output>/part-*                  parts                            removed
//!  <output>/_SUCCESS                                                 removed
//!  <output>/_report.html                                             removed
//!  <output>/_skipped/…              records that were left out       removed
//!  <output>/_mapreduce-*            work folders, temporary files    removed
//!  <output>/errors/part-00000       where _SUCCESS lists it          removed
//!  <output>/notes.txt                                                an error that names it
//!  <output>/latest -> /data/prod    a link is judged by its name     an error that names it
//! ```
//!
//! A link that has one of these names is removed itself; what it leads to is never touched.

use std::collections::HashSet;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::record::skipped::SKIPPED;
use crate::storage::{Contents, Location};

/// The object whose presence says that a result is whole.
pub const SUCCESS: &str = "_SUCCESS";
/// What the names of work folders and temporary files begin with: hidden, so that a job that reads the prefix
/// doesn't see them.
pub const WORK: &str = "_mapreduce-";
const REPORT: &str = "_report.html";
const PART: &str = "part-";

/// The keys that may be removed of what is at an output prefix, where `success` is the `_SUCCESS` there.
///
/// # Errors
///
/// A permanent error that names the first object that no run has left.
pub fn replaceable(output: &Location, contents: Contents, success: Option<&[u8]>) -> Result<Vec<String>> {
    let below = contents.keys.iter().filter_map(|key| Some((key, key.strip_prefix(&output.key)?)));
    let listed = success.map(outputs_of).unwrap_or_default();
    for (key, name) in below.clone() {
        if !is_left_by_a_run(name) && !listed.contains(&output.url(key)) {
            return Err(Error::permanent(format!(
                "{} was not left by an earlier run: output.ifExists: Replace removes nothing else",
                output.url(key)
            ))
            .because("move it away, or choose another output.url"));
        }
    }
    let keys: Vec<String> = below.map(|(key, _)| key.clone()).collect();
    match contents.link_to {
        Some(target) if !keys.is_empty() => Err(Error::permanent(format!(
            "{} is a link to {target}: output.ifExists: Replace removes nothing behind a link",
            output.url(&output.key)
        ))
        .because("write the folder's own path to output.url, or remove what is there")),
        _ => Ok(keys),
    }
}

/// Whether a name below an output prefix is that of a file that is about to become another: no result of anybody.
pub fn is_temporary(name: &str) -> bool {
    let inner = name.strip_prefix(WORK).and_then(|rest| rest.strip_suffix(".tmp"));
    inner.is_some_and(|inner| !inner.contains('/'))
}

/// Whether a name below an output prefix is one that runs give.
fn is_left_by_a_run(name: &str) -> bool {
    let (first, rest) = name.split_once('/').map_or((name, None), |(first, rest)| (first, Some(rest)));
    match rest {
        None => first == SUCCESS || first == REPORT || first.starts_with(PART) || first.starts_with(WORK),
        Some(_) => first == SKIPPED || first.starts_with(WORK),
    }
}

/// What the names of parts may end with: their format, then their compression.
const FORMATS: [&str; 6] = ["", ".txt", ".bin", ".csv", ".jsonl", ".parquet"];
const COMPRESSIONS: [&str; 5] = ["", ".gz", ".bz2", ".zst", ".lz4"];

/// Whether a name below an output prefix is one that runs upload, of whatever format.
pub fn is_uploaded(name: &str) -> bool {
    let skipped = name.strip_prefix(SKIPPED).and_then(|name| name.strip_prefix('/'));
    let Some(rest) = skipped.unwrap_or(name).strip_prefix(PART) else { return name == SUCCESS };
    let extension = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() < extension.len() + 5 {
        return false;
    }
    if skipped.is_some() {
        return extension == ".jsonl";
    }
    FORMATS.iter().any(|format| {
        extension.strip_prefix(format).is_some_and(|compression| COMPRESSIONS.contains(&compression))
    })
}

/// The URLs that a `_SUCCESS` lists; none where another program wrote it.
fn outputs_of(success: &[u8]) -> HashSet<String> {
    #[derive(Deserialize)]
    struct ListedOutputs {
        outputs: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        url: String,
    }
    let read = serde_json::from_slice(success);
    read.map_or_else(
        |_| HashSet::new(),
        |ListedOutputs { outputs }| outputs.into_iter().map(|o| o.url).collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{is_uploaded, replaceable};
    use crate::error::{ErrorKind, Result};
    use crate::storage::{Contents, FileStore, Location};

    fn output() -> Location {
        Location { store: Arc::new(FileStore), base: "s3://b/".into(), key: "out/".into() }
    }

    fn removed(names: &[&str], success: Option<&str>) -> Result<Vec<String>> {
        let keys = names.iter().map(|name| format!("out/{name}")).collect();
        let success = success.map(str::as_bytes);
        let keys = replaceable(&output(), Contents { keys, link_to: None }, success)?;
        Ok(keys.iter().map(|key| key["out/".len()..].to_owned()).collect())
    }

    #[test]
    fn what_earlier_runs_left_may_be_removed() {
        let left = [
            "_SUCCESS",
            "_mapreduce-lock",
            "_mapreduce-run-1/commit/map-00000",
            "_report.html",
            "_skipped/part-00003.jsonl",
            "part-00000",
            "part-00001.csv.gz",
        ];
        assert_eq!(removed(&left, None).unwrap(), left);
        assert!(removed(&[], None).unwrap().is_empty());
    }

    #[test]
    fn what_runs_upload_is_known_by_its_name() {
        let names = ["part-00000", "part-123456.csv.gz", "part-00001.parquet", "part-00000.lz4", "_SUCCESS"];
        assert!(names.into_iter().all(is_uploaded));
        assert!(is_uploaded("_skipped/part-00003.jsonl"));
        for name in [
            "",
            "part-",
            "part-1",
            "part-00000/x",
            "part-r-00000",
            "part-00000-a.parquet",
            "part-00000.gz.csv",
            "sub/part-00000",
            "_skipped/part-00000",
            "_skipped/_SUCCESS",
            "_SUCCESS2",
            "apart-00000",
        ] {
            assert!(!is_uploaded(name), "{name}");
        }
    }

    #[test]
    fn what_no_run_left_is_an_error_that_names_the_first_of_it() {
        for name in [
            "latest",
            "notes.txt",
            "part-2026/data.csv",
            "apart-00000",
            "_skipped",
            "_SUCCESS/x",
            "_SUCCESS.crc",
            "sub/part-00000",
            "/part-00000",
            "_report.html/x",
        ] {
            let error = removed(&["part-00000", name, "zz"], Some("{\"outputs\": []}")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("s3://b/out/{name} was not left")), "{error}");
            assert_eq!(error.kind(), ErrorKind::Permanent);
        }
    }

    #[test]
    fn what_the_old_success_lists_below_the_prefix_may_be_removed_and_nothing_elsewhere() {
        let success = r#"{"name": "x", "outputs": [
            {"url": "s3://b/out/errors/part-00000", "bytes": 1, "records": 1},
            {"url": "s3://b/in/a"}, {"url": "s3://b/out/../in/b"}]}"#;
        let names = ["_SUCCESS", "errors/part-00000"];
        assert_eq!(removed(&names, Some(success)).unwrap(), names);
        assert!(removed(&names, None).is_err());
        assert!(removed(&["errors/part-00001"], Some(success)).is_err());
        // What another program wrote lists nothing.
        for foreign in ["", "[]", "{\"outputs\": 3}", "\u{0}"] {
            assert!(removed(&names, Some(foreign)).is_err(), "{foreign}");
        }
        // Not even a list of what isn't below the prefix makes it go.
        let keys = vec!["in/a".to_owned(), "out/part-00000".to_owned()];
        let keys = replaceable(&output(), Contents { keys, link_to: None }, Some(success.as_bytes()));
        assert_eq!(keys.unwrap(), ["out/part-00000"]);
    }

    #[test]
    fn behind_a_link_nothing_is_removed() {
        let contents = |keys: &[&str]| Contents {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            link_to: Some("/data/prod".into()),
        };
        let error = replaceable(&output(), contents(&["out/part-00000"]), None).unwrap_err();
        assert!(error.to_string().contains("a link to /data/prod"), "{error}");
        assert!(replaceable(&output(), contents(&[]), None).unwrap().is_empty());
    }
}
