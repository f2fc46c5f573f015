//! Every manifest under `examples/` is one that the API server takes.

use std::fs;
use std::path::{Path, PathBuf};

fn manifests(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            manifests(&path, found);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn every_example_is_valid() {
    let mut paths = Vec::new();
    manifests(Path::new("../examples"), &mut paths);
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        if let Err(violations) = mapreduce_api::validate::validate(&text) {
            let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
            panic!("{}:\n{}", path.display(), lines.join("\n"));
        }
    }
}
