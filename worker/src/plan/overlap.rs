//! What a job writes lies apart from what it reads: no run may read, replace or remove its own input.
//!
//! ```text
//!  input  s3://b/in/*.gz      its fixed part is s3://b/in/
//!  output s3://b/in/          the same     ┐
//!         s3://b/in/out/      inside it    ├ refused, as is spec.shuffle.url
//!         s3://b/             above it     ┘
//!         s3://b/in-2/        apart
//! ```
//!
//! The manifest shows most of it ([`check`]); where a link leads shows the plan ([`check_links`]).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mapreduce_api::v1alpha1::{IfExists, MapReduceJobSpec};

use crate::error::{Error, Result};
use crate::input::list::{Object, fixed_place};
use crate::output::replaceable::WORK;
use crate::storage::{Address, Scheme};

/// A prefix that is written to.
struct WrittenPrefix<'a> {
    field: &'static str,
    url: &'a str,
    place: Address,
}

fn written<'a>(spec: &'a MapReduceJobSpec, folder: &Path) -> Result<Vec<WrittenPrefix<'a>>> {
    let shuffle = spec.shuffle.url.as_deref().map(|url| ("spec.shuffle.url", url));
    std::iter::once(("spec.output.url", spec.output.url.as_str()))
        .chain(shuffle)
        .map(|(field, url)| Ok(WrittenPrefix { field, url, place: Address::of(url, folder)?.as_prefix() }))
        .collect()
}

/// How a prefix lies to a place; none where they are apart.
fn relation(prefix: &str, place: &str) -> Option<&'static str> {
    let mut place = place.to_owned();
    if !place.is_empty() && !place.ends_with('/') {
        place.push('/');
    }
    if prefix == place {
        Some("is the same as")
    } else if prefix.starts_with(&place) {
        Some("is inside")
    } else if place.starts_with(prefix) {
        Some("is above")
    } else {
        None
    }
}

/// Refuses what the manifest alone shows. Relative `file:` URLs are below `folder`.
///
/// # Errors
///
/// A usage error that names both URLs.
pub fn check(spec: &MapReduceJobSpec, folder: &Path) -> Result<()> {
    let written = written(spec, folder)?;
    for WrittenPrefix { field, url, place } in &written {
        for input in &spec.input.urls {
            let read = fixed_place(input, folder)?;
            if read.base != place.base {
                continue;
            }
            if let Some(how) = relation(&place.key, &read.key) {
                return Err(Error::usage(format!("{field}: `{url}` {how} the input `{input}`")).because(
                    "choose a prefix apart from the input: a run must not read or remove its own data",
                ));
            }
        }
    }
    let [output, shuffle @ ..] = written.as_slice() else { return Ok(()) };
    if spec.output.if_exists == IfExists::Replace && matches!(output.place.key.as_str(), "" | "/") {
        let what = if output.place.scheme == Scheme::File { "all files" } else { "a whole bucket" };
        return Err(Error::usage(format!(
            "spec.output.url: `{}` is {what}: ifExists: Replace works on a prefix",
            output.url
        ))
        .because(format!("write {}NAME/", output.place.base.clone() + &output.place.key)));
    }
    for WrittenPrefix { field, url, place } in shuffle {
        // Above it may be: a run has a folder of its own there.
        let how = relation(&place.key, &output.place.key).filter(|how| *how != "is above");
        if let Some(how) = how.filter(|_| place.base == output.place.base) {
            return Err(Error::usage(format!("{field}: `{url}` {how} the output `{}`", output.url)).because(
                "choose a prefix outside of it, or leave it out: then a hidden folder there is used",
            ));
        }
    }
    Ok(())
}

/// Refuses what shows when links are followed: those on the way to a prefix, and those that were found below one.
///
/// # Errors
///
/// A permanent error that names what is written and what is read.
pub fn check_links(spec: &MapReduceJobSpec, folder: &Path, objects: &[Object]) -> Result<()> {
    let written = written(spec, folder)?;
    let local = written.iter().filter(|written| written.place.scheme == Scheme::File);
    let local: Vec<(&WrittenPrefix<'_>, PathBuf)> =
        local.map(|w| (w, resolved(Path::new(&w.place.key)))).collect();
    let refuse =
        |WrittenPrefix { field, url, .. }: &WrittenPrefix<'_>, real: &Path, read: &str, found: &Path| {
            let [real, found] = [real, found].map(Path::display);
            Error::permanent(format!("{field}: `{url}` overlaps with the input `{read}`"))
                .because(format_args!("links lead to {real} and to {found}"))
                .because("choose a prefix apart from the input: a run must not read or remove its own data")
        };
    for (written, real) in &local {
        if written.field == "spec.output.url"
            && spec.output.if_exists == IfExists::Replace
            && real.parent().is_none()
        {
            return Err(Error::permanent(format!("spec.output.url: `{}` leads to /", written.url))
                .because("ifExists: Replace works on a folder"));
        }
        for input in &spec.input.urls {
            let read = fixed_place(input, folder)?;
            let found = resolved(Path::new(&read.key));
            if read.scheme == Scheme::File && (found.starts_with(real) || real.starts_with(&found)) {
                return Err(refuse(written, real, input, &found));
            }
        }
    }
    // No link leads to what is not there: most outputs are new, and a look at each of many small files costs more
    // than opening them.
    let filled: Vec<_> = local.iter().filter(|(_, real)| has_content(real)).collect();
    let mut folders = HashMap::new();
    for object in objects.iter().filter(|object| object.location.is_local() && !filled.is_empty()) {
        let found = resolved_object(Path::new(&object.entry.key), &mut folders);
        if let Some((written, real)) = filled.iter().find(|(_, real)| found.starts_with(real)) {
            return Err(refuse(written, real, &object.url, &found));
        }
    }
    Ok(())
}

/// Whether there is something in a folder beside what runs that are at work have there.
fn has_content(folder: &Path) -> bool {
    let is_content = |name: &OsStr| !name.as_encoded_bytes().starts_with(WORK.as_bytes());
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.any(|entry| entry.map_or(true, |entry| is_content(&entry.file_name()))),
        // What can't be looked into may have anything in it.
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// A path without links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    let mut above = path.ancestors();
    let found = above.find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    let Some((folder, real)) = found else { return path.to_owned() };
    path.strip_prefix(folder).map(|rest| real.join(rest)).unwrap_or(real)
}

/// Likewise of a file, where folders have been looked at before.
fn resolved_object(path: &Path, folders: &mut HashMap<PathBuf, PathBuf>) -> PathBuf {
    if path.is_symlink() {
        return resolved(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    if let Some(real) = folders.get(folder) {
        return real.join(name);
    }
    let real = resolved(folder);
    let found = real.join(name);
    folders.insert(folder.to_owned(), real);
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mapreduce_api::v1alpha1::MapReduceJobSpec;
    use serde_json::json;

    use super::check;
    use crate::error::{Error, ErrorKind};

    fn refused(input: &str, output: &str, more: &serde_json::Value) -> Option<Error> {
        let mut spec = json!({"input": {"urls": ["s3://other/x/", input]}, "output": {"url": output}});
        for (name, value) in more.as_object().unwrap() {
            let fields = value.as_object().unwrap().clone();
            spec.as_object_mut()
                .unwrap()
                .entry(name)
                .or_insert(json!({}))
                .as_object_mut()
                .unwrap()
                .extend(fields);
        }
        let spec: MapReduceJobSpec = serde_json::from_value(spec).unwrap();
        check(&spec, Path::new("/home/me")).err()
    }

    #[test]
    fn what_is_written_lies_apart_from_what_is_read() {
        for (input, output, how) in [
            ("file:in/", "file:in/", "is the same as"),
            ("file:in/", "file:in", "is the same as"),
            ("file:in/", "file:./x/../in/", "is the same as"),
            ("file:in/", "file:///home/me/in/", "is the same as"),
            ("file:in/", "file:in/out/", "is inside"),
            ("file:in/*.txt", "file:in/out/", "is inside"),
            ("file:*.txt", "file:out/", "is inside"),
            ("file:in/", "file:./", "is above"),
            ("file:in/", "file:..", "is above"),
            ("file:in/a", "file:in/", "is above"),
            ("file:in/a*", "file:in/", "is the same as"),
            ("file:a/b/{c,d}/*", "file:a/", "is above"),
            ("s3://b/in/", "s3://b/", "is above"),
            ("s3://b/in/", "s3://b", "is above"),
            ("s3://b/", "s3://b/out/", "is inside"),
            ("s3://b/out/x.txt", "s3://b/out/", "is above"),
            ("s3://b/*/x.txt", "s3://b/out/", "is inside"),
            ("s3://b/x", "s3://b/x/", "is the same as"),
            ("s3://b/in//", "s3://b/in//x/", "is inside"),
        ] {
            let error = refused(input, output, &json!({})).unwrap_or_else(|| panic!("{input} {output}"));
            let said = format!("spec.output.url: `{output}` {how} the input `{input}`");
            assert_eq!((error.to_string(), error.kind()), (said, ErrorKind::Usage));
            let shuffle = json!({"shuffle": {"url": output}});
            let error = refused(input, "s3://c/out/", &shuffle).unwrap().to_string();
            assert!(error.starts_with("spec.shuffle.url: "), "{error}");
        }
        for (input, output) in [
            ("file:in/", "file:out/"),
            ("file:in/", "file:in-2/"),
            ("file:in/a.txt", "file:in/a.txt.out/"),
            ("file:in/*.txt", "file:out/"),
            ("s3://b/in/", "s3://c/in/"),
            ("s3://b/in/", "s3://b/in/../out/"),
            ("s3://b/in//", "s3://b/in/x/"),
            ("s3://b/home/me/in/", "file:in/"),
            ("https://h/in/a", "file:in/"),
        ] {
            let error = refused(input, output, &json!({}));
            // A bucket's keys are not paths: `..` is a name there.
            assert_eq!(error.is_some(), output.contains(".."), "{input} {output} {error:?}");
        }
    }

    #[test]
    fn a_root_is_no_output_to_be_replaced_and_a_shuffle_prefix_is_not_in_the_output() {
        for root in ["s3://b", "s3://b/", "file:///", "file:../..", "file:/"] {
            let error = refused("s3://c/in/", root, &json!({"output": {"ifExists": "Replace"}})).unwrap();
            assert!(error.to_string().contains(root), "{error}");
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(refused("s3://c/in/", root, &json!({})).is_none());
        }
        for (shuffle, is_refused) in [
            ("s3://b/out/", true),
            ("s3://b/out/tmp/", true),
            ("s3://b/", false),
            ("s3://b/tmp/", false),
            ("s3://c/out/", false),
        ] {
            let error = refused("s3://d/in/", "s3://b/out/", &json!({"shuffle": {"url": shuffle}}));
            assert_eq!(error.is_some(), is_refused, "{shuffle} {error:?}");
        }
    }
}
