//! What a result comes down to: how many lines, and the wrapping sum of the XXH3 of each. It is the same in
//! whatever order and in however many files the lines are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The digest of some lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    lines: u64,
    sum: u64,
}

impl Digest {
    /// Takes a line, without its end.
    #[inline]
    pub(crate) fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        self.sum = self.sum.wrapping_add(xxh3_64(line));
    }

    /// Takes the lines of another.
    pub(crate) fn merge(&mut self, other: Self) {
        self.lines += other.lines;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The digests of the right results, by work.
pub(crate) type Expected = BTreeMap<String, Digest>;

const NAME: &str = "expected.json";

/// Writes the digests beside the data.
pub(crate) fn write(dir: &Path, expected: &Expected) -> Result<()> {
    let path = dir.join(NAME);
    fs::write(&path, serde_json::to_string_pretty(expected)? + "\n")
        .with_context(|| path.display().to_string())
}

/// Bytes of a record that it is sorted by.
const SORT_KEY: usize = 10;

/// Compares a result, on `times` times the data, with the right one.
pub(crate) fn check(work: &str, dir: &Path, times: u64, files: &[PathBuf]) -> Result<()> {
    let path = dir.join(NAME);
    let text =
        fs::read(&path).with_context(|| format!("{}: run `bench-data generate` first", path.display()))?;
    let expected: Expected = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let Some(&expected) = expected.get(work) else {
        let works: Vec<_> = expected.keys().map(String::as_str).collect();
        bail!("there is no work `{work}`: there are {}", works.join(", "));
    };
    let (got, expected) = if work == "sort" {
        let sum = expected.sum.wrapping_mul(times);
        (sorted(files)?, Digest { lines: expected.lines * times, sum })
    } else {
        (summed(files, times)?, expected)
    };
    ensure!(got == expected, "{work}: the result is wrong: {got:?}, not {expected:?}");
    Ok(())
}

/// The digest of records, which must be in order.
fn sorted(files: &[PathBuf]) -> Result<Digest> {
    let (mut digest, mut last) = (Digest::default(), Vec::new());
    each_line(files, |line, path| {
        let key = &line[..SORT_KEY.min(line.len())];
        ensure!(key >= &last[..], "{}: line {} of all is out of order", path.display(), digest.lines + 1);
        last.clear();
        last.extend_from_slice(key);
        digest.add(line);
        Ok(())
    })?;
    Ok(digest)
}

/// The digest of lines `key TAB number`, with each number divided by `times`.
fn summed(files: &[PathBuf], times: u64) -> Result<Digest> {
    let (mut digest, mut once) = (Digest::default(), Vec::new());
    each_line(files, |line, path| {
        if times == 1 {
            digest.add(line);
            return Ok(());
        }
        let wrong = || {
            format!("{}: no `key TAB {times} × number`: {:?}", path.display(), String::from_utf8_lossy(line))
        };
        let tab = line.iter().rposition(|&byte| byte == b'\t').with_context(wrong)?;
        let number: u64 = std::str::from_utf8(&line[tab + 1..])?.parse().with_context(wrong)?;
        ensure!(number.is_multiple_of(times), wrong());
        once.clear();
        once.extend_from_slice(&line[..=tab]);
        write!(once, "{}", number / times)?;
        digest.add(&once);
        Ok(())
    })?;
    Ok(digest)
}

/// Calls `each` with every line, without its end, and its file.
fn each_line(files: &[PathBuf], mut each: impl FnMut(&[u8], &Path) -> Result<()>) -> Result<()> {
    let mut line = Vec::new();
    for path in files {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut lines = BufReader::with_capacity(1 << 20, file);
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).with_context(|| path.display().to_string())? == 0 {
                break;
            }
            each(line.strip_suffix(b"\n").unwrap_or(&line), path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Digest, Expected, check, write};

    fn of(lines: &[&str]) -> Digest {
        let mut digest = Digest::default();
        lines.iter().for_each(|line| digest.add(line.as_bytes()));
        digest
    }

    #[test]
    fn a_result_is_right_in_any_order_unless_it_is_to_be_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let digest = of(&["aaaaaaaaaa 1", "bbbbbbbbbb 2", "cccccccccc 3"]);
        let works = ["sort", "sum"].map(|work| (work.to_owned(), digest));
        write(dir.path(), &Expected::from(works)).unwrap();
        let files = ["part-0", "part-1"].map(|name| dir.path().join(name));
        fs::write(&files[0], "cccccccccc 3\n").unwrap();
        fs::write(&files[1], "aaaaaaaaaa 1\nbbbbbbbbbb 2\n").unwrap();
        check("sum", dir.path(), 1, &files).unwrap();
        let error = check("sort", dir.path(), 1, &files).unwrap_err().to_string();
        assert!(error.ends_with("part-1: line 2 of all is out of order"), "{error}");
        let [last, first] = files;
        check("sort", dir.path(), 1, &[first, last]).unwrap();
    }

    #[test]
    fn a_line_too_few_or_another_one_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &Expected::from([("sum".to_owned(), of(&["a\t1", "b\t2"]))])).unwrap();
        let file = dir.path().join("part-0");
        for wrong in ["a\t1\n", "a\t1\nb\t3\n", "a\t1\nb\t2\nb\t2\n"] {
            fs::write(&file, wrong).unwrap();
            let error = check("sum", dir.path(), 1, std::slice::from_ref(&file)).unwrap_err().to_string();
            assert!(error.contains("the result is wrong"), "{error}");
        }
    }

    #[test]
    fn a_result_on_eight_times_the_data_is_eight_times_the_result() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &Expected::from([("sum".to_owned(), of(&["a\t1", "b\t20"]))])).unwrap();
        let file = dir.path().join("part-0");
        fs::write(&file, "b\t160\na\t8\n").unwrap();
        check("sum", dir.path(), 8, std::slice::from_ref(&file)).unwrap();
        fs::write(&file, "b\t161\na\t8\n").unwrap();
        let error = check("sum", dir.path(), 8, &[file]).unwrap_err().to_string();
        assert!(error.ends_with(r#"part-0: no `key TAB 8 × number`: "b\t161""#), "{error}");
    }
}
