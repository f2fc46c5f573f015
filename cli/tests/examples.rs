//! Every example runs, and its result is what a few lines of Rust make of the same data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The examples that have a test here.
const TESTED: [&str; 23] = [
    "aggregatewordcount",
    "aggregatewordhist",
    "anagrams",
    "distinct",
    "grep",
    "inverted-index",
    "join",
    "map-only",
    "multifilewc",
    "pi",
    "python",
    "secondarysort",
    "sort",
    "streaming",
    "teragen",
    "terasort",
    "teravalidate",
    "top-words",
    "weblog",
    "wordcount",
    "wordmean",
    "wordmedian",
    "wordstandarddeviation",
];

/// Examples of several steps: `steps.rs` tests them.
const ELSEWHERE: [&str; 2] = ["pagerank", "steps"];

fn root() -> PathBuf {
    Path::new("..").canonicalize().unwrap()
}

/// A folder for results.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Runs an example on its own data; its parts one after the other.
    fn run(&self, name: &str) -> Vec<u8> {
        self.run_on(name, &[])
    }

    /// Runs an example on this input, the result of another one.
    fn run_after(&self, name: &str, before: &str) -> Vec<u8> {
        self.run_on(name, &["--input", &format!("{}/", self.url(before))])
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}", self.0.path().join(name).display())
    }

    fn run_on(&self, name: &str, args: &[&str]) -> Vec<u8> {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("mapreduce"))
            .arg("run")
            .arg(root().join(format!("examples/{name}.yaml")))
            .args(["--quiet", "--output", &self.url(name)])
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let folder = self.0.path().join(name);
        let mut parts: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|item| item.unwrap().path()).collect();
        parts.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("part-"));
        parts.sort();
        parts.into_iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        lines(self.run(name))
    }
}

fn lines(bytes: Vec<u8>) -> Vec<String> {
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn files(folder: &Path, ext: &str, found: &mut Vec<PathBuf>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(['.', '_']) {
            continue;
        }
        if path.is_dir() {
            files(&path, ext, found);
        } else if name.ends_with(ext) {
            found.push(path);
        }
    }
}

/// The texts that most examples read: `docs/` and the documents beside it.
fn documents() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    files(&root().join("docs"), "", &mut paths);
    for item in std::fs::read_dir(root()).unwrap() {
        let path = item.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "md") {
            paths.push(path);
        }
    }
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn sources() -> Vec<String> {
    let mut paths = Vec::new();
    for item in std::fs::read_dir(root()).unwrap() {
        let folder = item.unwrap().path().join("src");
        if folder.is_dir() {
            files(&folder, ".rs", &mut paths);
        }
    }
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

fn data(name: &str) -> String {
    std::fs::read_to_string(root().join("examples/data").join(name)).unwrap()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '\t', '\n', '\x0b', '\x0c', '\r']).filter(|word| !word.is_empty())
}

fn counts() -> BTreeMap<String, u64> {
    count(documents().iter().flat_map(|(_, text)| words(text).map(str::to_owned).collect::<Vec<_>>()))
}

fn count(words: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    words.fold(BTreeMap::new(), |mut counts, word| {
        *counts.entry(word).or_default() += 1;
        counts
    })
}

fn counted(counts: &BTreeMap<String, u64>) -> Vec<String> {
    counts.iter().map(|(word, n)| format!("{word}\t{n}")).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn lengths() -> Vec<u64> {
    let documents = documents();
    let mut lengths: Vec<_> =
        documents.iter().flat_map(|(_, text)| words(text)).map(|word| word.chars().count() as u64).collect();
    lengths.sort_unstable();
    lengths
}

fn mean(numbers: &[u64]) -> f64 {
    numbers.iter().sum::<u64>() as f64 / numbers.len() as f64
}

#[test]
fn every_example_is_tested_and_in_the_index() {
    let mut paths = Vec::new();
    files(&root().join("examples"), ".yaml", &mut paths);
    let index = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    for path in paths.iter().filter(|path| path.parent().unwrap().ends_with("examples")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            TESTED.contains(&name) || ELSEWHERE.contains(&name),
            "{name} has no test in cli/tests/examples.rs"
        );
        assert!(index.contains(&format!("]({name}.yaml)")), "{name} is not in examples/README.md");
    }
}

#[test]
fn word_counts_in_every_kind_of_function_are_the_same() {
    let (place, expected) = (Place::new(), counted(&counts()));
    assert_eq!(sorted(place.lines("wordcount")), sorted(expected.clone()));
    assert_eq!(sorted(place.lines("aggregatewordcount")), sorted(expected));
    let letters = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect::<Vec<_>>()
    };
    let expected = count(documents().iter().flat_map(|(_, text)| letters(text)));
    assert_eq!(sorted(place.lines("streaming")), sorted(counted(&expected)));
    let names = |text: &String| {
        let words =
            text.split(|c: char| !c.is_ascii_alphabetic() && c != '_').filter(|word| !word.is_empty());
        words.map(str::to_ascii_lowercase).collect::<Vec<_>>()
    };
    let mut paths = Vec::new();
    ["crds", "worker", "operator", "cli"]
        .iter()
        .for_each(|name| files(&root().join(name).join("src"), ".rs", &mut paths));
    let sources: Vec<_> = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(place.lines("multifilewc"), counted(&count(sources.iter().flat_map(names))));
}

#[test]
fn a_word_count_is_sorted_by_words_and_by_numbers() {
    let place = Place::new();
    place.run("wordcount");
    let counts = counts();
    assert_eq!(
        lines(place.run_after("sort", "wordcount")),
        counted(&counts),
        "in total order over the parts"
    );
    let mut ranked: Vec<_> = counts.iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let expected: Vec<_> = ranked.into_iter().map(|(word, n)| format!("{n}\t{word}")).collect();
    assert_eq!(lines(place.run_after("top-words", "wordcount")), expected);
}

#[test]
fn lengths_of_words() {
    let (place, lengths) = (Place::new(), lengths());
    let mean = mean(&lengths);
    assert_eq!(place.lines("wordmean"), [format!("length\t{mean}")]);
    assert_eq!(place.lines("wordmedian"), [format!("median\t{}", lengths[lengths.len().div_ceil(2) - 1])]);
    let stats: Value = serde_json::from_str(&place.lines("wordstandarddeviation")[0]).unwrap();
    let variance = lengths.iter().map(|&n| (n as f64 - mean).powi(2)).sum::<f64>() / lengths.len() as f64;
    let deviation = stats["value"]["stddev"].as_f64().unwrap();
    assert!((deviation - variance.sqrt()).abs() < 1e-9, "{deviation} {variance}");
    assert_eq!(stats["value"]["count"], lengths.len());
}

#[test]
fn a_histogram_of_counts() {
    let mut numbers: Vec<u64> = counts().into_values().collect();
    numbers.sort_unstable();
    let line = Place::new().lines("aggregatewordhist").remove(0);
    let fields: Vec<_> = line.split('\t').collect();
    let (least, most) = (numbers[0], numbers[numbers.len() - 1]);
    let expected = [numbers.len() as u64, least, numbers[numbers.len() / 2], most].map(|n| n.to_string());
    assert_eq!((fields[0], &fields[1..5]), ("words", &expected.each_ref().map(String::as_str)[..]));
    assert_eq!(fields[5], mean(&numbers).to_string());
}

#[test]
fn anagrams_have_the_same_letters() {
    let mut sets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, text) in documents() {
        for line in text.lines() {
            let line = line.to_lowercase();
            for word in line.split(|c: char| !c.is_ascii_lowercase()).filter(|word| word.len() >= 3) {
                let mut letters: Vec<char> = word.chars().collect();
                letters.sort_unstable();
                sets.entry(letters.into_iter().collect()).or_default().insert(word.to_owned());
            }
        }
    }
    let expected = sets.values().filter(|words| words.len() > 1).map(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        format!("{}\t{}", words[0], words[1..].join(" "))
    });
    assert_eq!(sorted(Place::new().lines("anagrams")), sorted(expected.collect()));
}

#[test]
fn an_index_in_python_ranks_documents() {
    let lines = Place::new().lines("python");
    let (word, found) =
        lines.iter().find_map(|line| line.split_once('\t').filter(|(w, _)| *w == "kubernetes")).unwrap();
    let mut expected: Vec<(usize, String)> = documents()
        .into_iter()
        .map(|(name, text)| {
            let words = text.split(|c: char| !c.is_alphabetic()).filter(|w| w.to_lowercase() == word);
            (words.count(), name)
        })
        .filter(|(n, _)| *n > 0)
        .collect();
    expected.sort_by(|a, b| b.cmp(a));
    let expected: Vec<_> = expected.into_iter().map(|(n, name)| format!("{name}:{n}")).collect();
    assert_eq!(found, expected.join(" "));
}

#[test]
fn what_sources_define_and_use() {
    let place = Place::new();
    let sources = sources();
    let first = |line: &str| {
        let mut words =
            line.split_whitespace().skip_while(|word| word.starts_with("pub") || *word == "async");
        let word = words.next()?.to_owned();
        let kinds = ["fn", "struct", "enum", "trait", "const", "static", "mod"];
        (kinds.contains(&word.as_str()) && words.next().is_some()).then_some(word)
    };
    let expected = count(sources.iter().flat_map(|text| text.lines()).filter_map(first));
    assert_eq!(place.lines("grep"), counted(&expected));
    let used = |line: &str| {
        let line = line.trim_start();
        let path = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("use ")?.strip_suffix(';')?;
        let (name, path) = path.split_once("::")?;
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| (name.to_owned(), path.to_owned()))
    };
    let mut index: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, path) in sources.iter().flat_map(|text| text.lines()).filter_map(used) {
        index.entry(name).or_default().insert(path);
    }
    let expected: Vec<_> = index
        .into_iter()
        .map(|(name, paths)| format!("{name}\t{}", paths.into_iter().collect::<Vec<_>>().join(" ")))
        .collect();
    assert_eq!(place.lines("inverted-index"), expected);
}

#[test]
fn links_as_they_are_in_the_documents() {
    let links = Place::new().lines("map-only");
    let documents = documents();
    let others = ["CHANGELOG.md", "CONTRIBUTING.md"];
    let all = documents.iter().filter(|(name, _)| !others.contains(&name.as_str()));
    let expected: usize = all
        .map(|(_, text)| {
            let targets = text.lines().flat_map(|line| line.split("](").skip(1));
            targets.filter(|rest| rest.find(')').is_some_and(|at| at > 0)).count()
        })
        .sum();
    assert_eq!(links.len(), expected);
    assert!(links.contains(&"docs/quickstart.md\t1".to_owned()), "{links:?}");
}

#[test]
fn a_web_servers_log() {
    let place = Place::new();
    let log = data("access.log");
    let (mut visitors, mut bytes): (BTreeMap<_, BTreeSet<_>>, BTreeMap<_, u64>) = Default::default();
    for line in log.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let page = fields[6].split('?').next().unwrap();
        visitors.entry(page).or_default().insert(fields[0]);
        *bytes.entry(page).or_default() += fields[9].parse::<u64>().unwrap_or_default();
    }
    let expected: Vec<_> = visitors.iter().map(|(page, who)| format!("{page}\t{}", who.len())).collect();
    assert_eq!(place.lines("distinct"), expected);
    let url = format!("file://{}", root().join("examples/data/access.log").display());
    let rows = lines(place.run_on("weblog", &["--input", &url]));
    let expected: Vec<_> = bytes.iter().map(|(page, n)| format!("{page},{n}")).collect();
    assert_eq!((rows[0].as_str(), &rows[1..]), ("key,value", &expected[..]));
}

#[test]
fn readings_of_a_year_from_the_warmest_on() {
    let found = Place::new().lines("secondarysort");
    let text = data("temperatures.txt");
    for year in ["1948", "1949", "1950", "1951"] {
        let mut expected: Vec<(i32, &str)> = text
            .lines()
            .filter_map(|line| line.strip_prefix(year)?.trim_start().split_once(' '))
            .map(|(place, degrees)| (-degrees.parse::<i32>().unwrap(), place))
            .collect();
        expected.sort_unstable();
        let expected: Vec<_> =
            expected.into_iter().map(|(degrees, place)| format!("{year} {}\t{place}", -degrees)).collect();
        let of_year: Vec<_> = found.iter().filter(|line| line.starts_with(year)).cloned().collect();
        assert_eq!(of_year, expected);
    }
    assert_eq!(found.len(), text.lines().count());
}

#[test]
fn customers_with_their_orders() {
    let expected = [
        "1\tAnn\tdesk\t140.00",
        "1\tAnn\tmat\t12.00",
        "2\tBob\tbulb\t3.20",
        "2\tBob\tlamp\t19.90",
        "3\tCid\t",
        "4\tDan\t",
        "5\tEve\tchair\t75.50",
    ];
    assert_eq!(Place::new().lines("join"), expected);
}

#[test]
fn an_estimate_of_pi() {
    let line = Place::new().lines("pi").remove(0);
    let estimate: f64 = line.strip_prefix("pi\t").unwrap().parse().unwrap();
    assert!((estimate - std::f64::consts::PI).abs() < 0.01, "{estimate}");
}

#[test]
fn records_are_made_and_sorted_and_a_disorder_is_seen() {
    let place = Place::new();
    let made = place.run("teragen");
    let mut records: Vec<_> = made.chunks(100).collect();
    assert_eq!((records.len(), made.len()), (10_000, 1_000_000));
    let found = place.run_after("terasort", "teragen");
    records.sort_by_key(|record| &record[..10]);
    let keys = |records: &[u8]| records.chunks(100).map(|record| record[..10].to_vec()).collect::<Vec<_>>();
    assert_eq!(keys(&found), keys(&records.concat()));
    let valid = lines(place.run_after("teravalidate", "terasort"));
    assert_eq!((valid[0].as_str(), valid.len()), ("records\t10000", 2), "{valid:?}");
    let before = lines(place.run_after("teravalidate", "teragen"));
    assert_eq!(valid[1], *before.iter().find(|line| line.starts_with("checksum")).unwrap());
    assert!(before.len() > 4000 && before[0].starts_with("error\tpart-0000"), "{:?}", &before[..3]);
}

/// Needs `rustup target add wasm32-wasip2`, and a command with the feature `wasm`: `cargo test --workspace` has it.
#[test]
fn wasm_counts_words_as_the_built_in_functions_do() {
    let manifest = root().join("examples/wasm/rust/Cargo.toml");
    let build = ["build", "--quiet", "--locked", "--release", "--target", "wasm32-wasip2"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(build)
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(root().join("target/wasm"));
    let built = cargo.env_remove("RUSTFLAGS").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let place = Place::new();
    let (mut wasm, mut built_in) = (place.lines("wasm/wordcount"), place.lines("wordcount"));
    wasm.sort();
    built_in.sort();
    assert!(wasm.len() > 1000 && wasm == built_in);
}
