//! The engine's modules are layers: each imports only those below it. So each can be read, tested and changed
//! without those above.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, the lowest layer first. Those of one layer stand side by side: none imports another.
const LAYERS: &[&[&str]] = &[
    &["error"],
    &["machine"],
    &["memory", "scratch"],
    &["storage"],
    &["record"],
    &["input", "output", "shuffle", "function"],
    &["step"],
    &["plan"],
    &["commit"],
    &["task"],
    &["job"],
    &["pod_main", "fuzzing"],
];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules that a source imports: what follows `crate::` outside of comments.
fn imports(source: &str) -> Vec<String> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    let names = code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>());
    names.map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()).collect()
}

/// What is wrong with the imports of a file of a module.
fn climbs(module: &str, source: &str) -> Vec<String> {
    let Some(layer) = layer_of(module) else { return vec![format!("{module} has no layer")] };
    imports(source)
        .into_iter()
        .filter(|import| import != module && layer_of(import).is_none_or(|below| below >= layer))
        .map(|import| format!("{module} imports {import}"))
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        // A module's tests may use what it is for.
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") && name != "tests" {
            found.push(path);
        }
    }
}

#[test]
fn each_module_imports_only_those_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 100, "{} sources were found", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).unwrap();
        let module = Path::new(path.components().next().unwrap().as_os_str()).file_stem().unwrap();
        let module = module.to_str().unwrap();
        if ["lib", "main"].contains(&module) {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        wrong.extend(climbs(module, &source).into_iter().map(|climb| format!("{}: {climb}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_from_above_or_from_beside_is_seen() {
    assert_eq!(climbs("plan", "use crate::job::Job;\n"), ["plan imports job"]);
    assert_eq!(climbs("input", "    let x = crate::output::x();\n"), ["input imports output"]);
    assert_eq!(climbs("plan", "pub(crate) fn x() {}\n//! [`crate::job`]\nuse crate::step::Step;\n"), [""; 0]);
    assert_eq!(climbs("attic", ""), ["attic has no layer"]);
    assert_eq!(climbs("plan", "use crate::{job, step};\n"), ["plan imports "], "one import a line");
}
