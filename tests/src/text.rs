//! Real text that every Debian machine with Rust has, and what coreutils make of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command;

/// The licences that Debian ships, then the sources of the crates that this was built from, in the
/// order of their names, up to so many bytes.
pub fn text(bytes: usize) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut all = Vec::with_capacity(bytes);
    add(Path::new("/usr/share/common-licenses"), None, bytes, &mut all)?;
    add(
        &cargo.context("neither CARGO_HOME nor HOME is set")?.join("registry/src"),
        Some("rs"),
        bytes,
        &mut all,
    )?;
    ensure!(all.len() >= bytes.min(16 << 20), "there are only {} bytes of text on this machine", all.len());
    // A word that is cut is a word too.
    all.truncate(bytes);
    Ok(all)
}

fn add(folder: &Path, extension: Option<&str>, bytes: usize, all: &mut Vec<u8>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if all.len() >= bytes {
            return Ok(());
        }
        if path.is_dir() {
            add(&path, extension, bytes, all)?;
        } else if extension.is_none() || path.extension().and_then(|e| e.to_str()) == extension {
            all.extend_from_slice(
                &fs::read(&path).with_context(|| format!("can't read {}", path.display()))?,
            );
            all.push(b'\n');
        }
    }
    Ok(())
}

/// The words of a text and how often each is in it, as lines of word TAB count, in byte order: by
/// programs that have nothing in common with what is tested.
pub fn word_count(text: &[u8]) -> Result<Vec<u8>> {
    let script = r"tr -s ' \t\n\v\f\r' '\n' | sed '/^$/d' | sort | uniq -c | sed -E 's/^ *([0-9]+) (.*)$/\2\t\1/' | sort";
    let mut shell = Command::new("sh");
    let output = command::run_bytes(shell.args(["-c", script]).env("LC_ALL", "C"), text)?;
    ensure!(!output.is_empty(), "coreutils found no words");
    Ok(output)
}

/// An error that shows the first difference unless both texts have the same lines, in any order.
pub fn same_lines(have: &[u8], want: &[u8]) -> Result<()> {
    let sorted = |text: &'_ [u8]| {
        let mut lines: Vec<Vec<u8>> = text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    let (have, want) = (sorted(have), sorted(want));
    let shown = |line: Option<&Vec<u8>>| line.map(|l| String::from_utf8_lossy(l).into_owned());
    if let Some(i) = (0..have.len().max(want.len())).find(|&i| have.get(i) != want.get(i)) {
        anyhow::bail!(
            "{} lines, and should be {}; sorted, the first difference is in line {i}: {:?}, and should be {:?}",
            have.len(),
            want.len(),
            shown(have.get(i)),
            shown(want.get(i))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{same_lines, word_count};

    #[test]
    fn words_are_counted_as_the_contract_says() {
        assert_eq!(word_count(b"b a\tb\r\nc\x0b\x0ca  b\n").unwrap(), b"a\t2\nb\t3\nc\t1\n");
    }

    #[test]
    fn a_difference_is_found_whatever_the_order() {
        assert!(same_lines(b"a\t1\nb\t2\n", b"b\t2\na\t1\n").is_ok());
        for other in [&b"a\t1\n"[..], b"a\t1\nb\t3\n", b"a\t1\nb\t2\nb\t2\n", b"a\t1\nb\t2"] {
            assert!(same_lines(b"a\t1\nb\t2\n", other).is_err());
        }
    }
}
