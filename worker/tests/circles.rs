//! No file imports one that imports it, directly or round about: each can be read when those that it is made of have
//! been. A folder's own module may name what is in the folder, and that may name the module: they are one subject.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates whose files are looked at.
const CRATES: [&str; 4] = ["crds", "operator", "worker", "cli"];

/// A module, by the names on the way to it from the crate's root, which has none.
type Module = Vec<String>;

/// What a module says, outside of its tests.
#[derive(Default)]
struct Source {
    /// Paths that it names, from the crate's root: those of modules, of what is in them, and what these have.
    paths: Vec<Vec<String>>,
    /// What it hands on from other modules, by the name under which it does.
    reexports: BTreeMap<String, Vec<String>>,
}

/// Code without comments, texts and tests.
fn code_of(source: &str) -> String {
    let mut code = String::new();
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // A module's tests may use what it is for.
            let mut item = lines.by_ref().skip_while(|line| line.starts_with('#'));
            if item.next().is_some_and(|line| line.ends_with('{')) {
                for _ in lines.by_ref().take_while(|line| *line != "}") {}
            }
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// The paths of a tree as it stands in `use`, and what follows it: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(mut rest: &str, paths: &mut Vec<(Vec<String>, String)>) -> usize {
    let whole = rest.len();
    let mut way = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(mut inner) = rest.strip_prefix('{') {
            loop {
                let mut below = Vec::new();
                let taken = tree(inner, &mut below);
                for (path, name) in below.into_iter().filter(|(path, _)| !path.is_empty()) {
                    let is_self = path.last().is_some_and(|last| last == "self");
                    let path: Vec<String> = way.iter().cloned().chain(path).filter(|s| s != "self").collect();
                    let name = if is_self { path.last().cloned().unwrap_or_default() } else { name };
                    paths.push((path, name));
                }
                inner = inner[taken..].trim_start();
                match inner.strip_prefix(',') {
                    Some(next) => inner = next,
                    None => break,
                }
            }
            return whole - inner.strip_prefix('}').unwrap_or(inner).len();
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            way.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    let mut name = way.last().cloned().unwrap_or_default();
    if let Some(alias) = rest.strip_prefix(" as ") {
        let end = alias.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(alias.len());
        alias[..end].clone_into(&mut name);
        rest = &alias[end..];
    }
    paths.push((way, name));
    whole - rest.len()
}

/// Reads a module's source.
fn read(module: &Module, source: &str) -> Source {
    let code = code_of(source);
    let children: BTreeSet<&str> = code
        .lines()
        .filter_map(|line| line.strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name))
        .collect();
    let mut found = Source::default();
    let mut at = 0;
    while let Some(next) = code[at..].find("::") {
        // The first name of a path.
        let end = at + next;
        let start = code[..end].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        let first = &code[start..end];
        if !["crate", "self", "super"].contains(&first) && !children.contains(first) {
            at = end + 2;
            continue;
        }
        let line = code[..start].rfind('\n').map_or(0, |i| i + 1);
        let is_reexport = code[line..start].starts_with("pub") && code[line..start].ends_with("use ");
        let mut paths = Vec::new();
        at = start + tree(&code[start..], &mut paths);
        for (path, name) in paths {
            let path = from_root(module, &path);
            if is_reexport {
                found.reexports.insert(name, path);
            } else {
                found.paths.push(path);
            }
        }
    }
    found
}

/// A path from the crate's root, of one as a module names it.
fn from_root(module: &Module, path: &[String]) -> Vec<String> {
    let mut base = module.clone();
    let mut rest = path;
    match path[0].as_str() {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        _ => {}
    }
    while rest.first().is_some_and(|name| name == "super") {
        base.pop();
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    base
}

/// The module that has what a path names, also where others hand it on.
fn owner(sources: &BTreeMap<Module, Source>, path: &[String]) -> Module {
    let mut path = path.to_vec();
    // Some hand on what others hand on.
    for _ in 0..10 {
        let depth = (0..=path.len()).rev().find(|&n| sources.contains_key(&path[..n])).unwrap();
        let (module, rest) = path.split_at(depth);
        let handed_on = rest.first().and_then(|name| sources[module].reexports.get(name));
        match handed_on {
            Some(target) => path = target.iter().chain(&rest[1..]).cloned().collect(),
            None => return module.to_vec(),
        }
    }
    panic!("{path:?} is handed on in a circle");
}

/// Which modules each one imports.
fn imports(sources: &BTreeMap<Module, Source>) -> BTreeMap<String, Vec<String>> {
    let name = |module: &Module| module.join("::");
    let of = |(module, source): (&Module, &Source)| {
        let owners =
            source.paths.iter().map(|path| owner(sources, path)).filter(|owner| !module.starts_with(owner));
        let owners: BTreeSet<String> = owners.map(|owner| name(&owner)).collect();
        (name(module), owners.into_iter().collect())
    };
    sources.iter().map(of).collect()
}

/// A circle among what imports what, if there is one.
fn circle(imports: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut left: BTreeMap<&String, &Vec<String>> = imports.iter().collect();
    // What imports nothing that is left is in no circle.
    while let Some(&name) =
        left.keys().find(|&&name| imports[name].iter().all(|import| !left.contains_key(import)))
    {
        left.remove(name);
    }
    let mut way: Vec<&String> = left.keys().copied().take(1).collect();
    loop {
        let next = left.get(*way.last()?)?.iter().find(|import| left.contains_key(import))?;
        if let Some(start) = way.iter().position(|name| *name == next) {
            return Some(way[start..].iter().map(|name| (*name).clone()).collect());
        }
        way.push(next);
    }
}

/// The sources of a folder, but for tests.
fn sources(root: &Path, folder: &Path, found: &mut BTreeMap<Module, Source>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" || name.ends_with("_tests") || name == "bin" {
            continue;
        }
        if path.is_dir() {
            sources(root, &path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let below = path.strip_prefix(root).unwrap().with_extension("");
            let mut module: Module = below.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            module.pop_if(|last| ["mod", "lib", "main"].contains(&last.as_str()));
            let source = read(&module, &fs::read_to_string(&path).unwrap());
            // A binary of the same name beside a library adds to it.
            let all = found.entry(module).or_default();
            all.paths.extend(source.paths);
            all.reexports.extend(source.reexports);
        }
    }
}

#[test]
fn no_file_imports_one_that_imports_it() {
    for name in CRATES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut found = BTreeMap::new();
        sources(&root, &root, &mut found);
        let imports = imports(&found);
        let edges: usize = imports.values().map(Vec::len).sum();
        assert!(edges > found.len(), "{edges} imports of {} files of {name} were found", found.len());
        assert_eq!(circle(&imports), None, "in {name}");
    }
}

/// Modules with such sources, by their paths.
fn parsed(files: &[(&str, &str)]) -> BTreeMap<Module, Source> {
    let of = |(path, source): &(&str, &str)| {
        let module: Module = path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        (module.clone(), read(&module, source))
    };
    files.iter().map(of).collect()
}

#[test]
fn imports_are_seen_however_they_are_written() {
    let other = [
        ("", "mod a;\nmod b;\n"),
        ("b", "pub mod c;\nmod d;\npub use self::d::Handed;\n"),
        ("b::c", ""),
        ("b::d", ""),
    ];
    for (source, want) in [
        ("use super::b::c::X;\n", vec!["b::c"]),
        ("use crate::b::{c::{self, X}, Y};\n", vec!["b", "b::c"]),
        ("fn f() { crate::b::c::f(); }\n", vec!["b::c"]),
        ("use super::b::Handed;\n", vec!["b::d"]),
        ("use super::b::Handed as Other;\n", vec!["b::d"]),
        ("// use super::b::c;\nuse std::fmt;\n", vec![]),
        ("#[cfg(test)]\nmod tests {\n    use crate::b::c;\n}\n", vec![]),
    ] {
        let files: Vec<_> = other.into_iter().chain([("a", source)]).collect();
        assert_eq!(imports(&parsed(&files))["a"], want, "{source}");
    }
}

#[test]
fn a_circle_is_found_wherever_it_begins() {
    let import = |names: &str| {
        names.chars().fold(String::new(), |all, name| all + &format!("use super::{name}::X;\n"))
    };
    let circle = |lists: [(&str, &str); 4]| {
        let sources = lists.map(|(name, names)| (name, import(names)));
        circle(&imports(&parsed(&sources.each_ref().map(|(name, source)| (*name, source.as_str())))))
    };
    assert_eq!(circle([("a", "bc"), ("b", "c"), ("c", ""), ("", "")]), None);
    assert_eq!(circle([("a", "b"), ("b", "cd"), ("c", ""), ("d", "b")]).unwrap(), ["b", "d"]);
}

#[test]
fn what_a_folder_has_may_name_its_module_but_not_in_a_circle_of_its_own() {
    let files = |d: &'static str| {
        [
            ("", "mod a;\n"),
            ("a", "mod c;\nmod d;\nuse c::X;\n"),
            ("a::c", "use super::Y;\nuse super::d::Z;\n"),
            ("a::d", d),
        ]
    };
    assert_eq!(circle(&imports(&parsed(&files("")))), None);
    assert_eq!(circle(&imports(&parsed(&files("use super::c::X;\n")))).unwrap(), ["a::c", "a::d"]);
}
