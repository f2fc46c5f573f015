//! A thousand layouts of files, links, nested prefixes and old results: whatever a run removes of them is what an
//! earlier run left at its own output prefix. `SEED=17` runs one of them alone.

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::{Place, merge, word_count};
use mapreduce_worker::job::local::{self, RunProgress};
use serde_json::{Value, json};

const LAYOUTS: u64 = 1000;

/// Numbers from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % most as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What is at a path, no link followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    File(Vec<u8>),
    Link(PathBuf),
}

/// All files and links below a folder.
fn items(folder: &Path) -> BTreeMap<PathBuf, Item> {
    let mut found = BTreeMap::new();
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_symlink() {
            found.insert(path.clone(), Item::Link(std::fs::read_link(path).unwrap()));
        } else if path.is_dir() {
            found.extend(items(&path));
        } else {
            found.insert(path.clone(), Item::File(std::fs::read(path).unwrap()));
        }
    }
    found
}

/// Names that earlier runs give, that they don't, and between the two.
const OWNED: [&str; 6] = [
    "part-00000",
    "part-00007",
    "_report.html",
    "_skipped/part-00001.jsonl",
    "_mapreduce-dead/plan.json",
    "_mapreduce-x",
];
const FOREIGN: [&str; 9] = [
    "notes.txt",
    "sub/part-00000",
    "part-2026/x",
    "_SUCCESS.crc",
    "_skipped",
    "errors/part-00000",
    ".part-00000",
    "apart-00000",
    "_report.html.bak",
];
const LINKS: [&str; 7] = [
    "latest",
    "part-00003",
    "_mapreduce-link",
    "_skipped/part-00009",
    "sub/deep",
    "_report.html",
    "x/part-00000",
];

struct Layout {
    place: Place,
    random: Random,
    /// The output's name in the folder.
    output: &'static str,
    replace: bool,
}

impl Layout {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let place = Place::of(&[b"a b a".to_vec(), b"b c".to_vec()], 4 << 20, 1);
        place.write("prod/part-00000", "of another");
        place.write("prod/_SUCCESS", "{}");
        place.write("prod/sub/data", "precious");
        let output = random.of(&[
            "out",
            "out",
            "out",
            "out",
            "out",
            "a/b/out",
            "in/out",
            ".",
            "alias",
            "alias/out",
            "prod",
            "in",
        ]);
        let replace = random.below(4) > 0;
        let mut layout = Self { place, random, output, replace };
        layout.fill();
        layout
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path(name)
    }

    fn write(&self, name: &str) {
        let path = self.path(&format!("{}/{name}", self.output));
        // Some names are in the way of others.
        if std::fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
            drop(std::fs::write(path, name));
        }
    }

    fn fill(&mut self) {
        let target = self.random.of(&["prod", "in", "out"]);
        symlink(target, self.path("alias")).unwrap();
        if self.random.below(4) == 0 {
            symlink(self.path("out"), self.path("in/old")).unwrap();
        }
        if self.random.below(3) == 0 {
            std::fs::create_dir_all(self.path("out")).unwrap();
        }
        // An old result: a run's own, with other numbers of parts, perhaps below the prefix.
        if self.random.below(2) == 0 {
            let url = self.random.of(&["file:out/", "file:out/", "file:out/nested/", "file:prod/new/"]);
            let mut fields = word_count(3, false);
            merge(&mut fields, json!({"output": {"url": url}}));
            drop(self.place.run(fields));
        }
        for _ in 0..self.random.below(4) {
            let name = self.random.of(&OWNED);
            self.write(name);
        }
        if self.random.below(3) == 0 {
            let name = self.random.of(&FOREIGN);
            self.write(name);
        }
        if self.random.below(4) == 0 {
            let name = self.random.of(&LINKS);
            let target = self.random.of(&["prod", "in", "prod/sub/data", "in/0.txt", "nowhere"]);
            let link = self.path(&format!("{}/{name}", self.output));
            if std::fs::create_dir_all(link.parent().unwrap()).is_ok() {
                drop(symlink(self.path(target), link));
            }
        }
        // One that says more than it may: what isn't below the prefix, or not there.
        if self.random.below(4) == 0 {
            let url = |name: &str| json!({"url": format!("file://{}", self.path(name).display())});
            let listed: Vec<Value> =
                ["in/0.txt", "prod/sub/data", "out/errors/part-00000", "out/../in/1.txt", "out/notes.txt/x"]
                    .map(url)
                    .into();
            let text = json!({"name": "x", "id": "y", "outputs": listed}).to_string();
            let path = self.path(&format!("{}/_SUCCESS", self.output));
            if path.parent().unwrap().is_dir() {
                drop(std::fs::write(path, text));
            }
        }
    }

    fn fields(&self) -> Value {
        let mut fields = word_count(2, false);
        let if_exists = if self.replace { "Replace" } else { "Fail" };
        merge(
            &mut fields,
            json!({"output": {"url": format!("file:{}/", self.output), "ifExists": if_exists}}),
        );
        fields
    }

    /// Whether a run left an item at the output: what the contract says, in other words than the engine's.
    fn is_owned(&self, path: &Path, output: &Path, listed: &[String]) -> bool {
        let Ok(name) = path.strip_prefix(output) else { return false };
        let segments: Vec<&str> = name.iter().map(|segment| segment.to_str().unwrap()).collect();
        let written = self.path(self.output).join(name);
        match segments.as_slice() {
            ["_SUCCESS" | "_report.html"] | ["_skipped", _, ..] => true,
            [name] if name.starts_with("part-") => true,
            [name, ..] if name.starts_with("_mapreduce-") => true,
            _ => listed.contains(&format!("file://{}", written.display())),
        }
    }

    fn check(&self, seed: u64) -> Outcome {
        let before = items(self.place.dir.path());
        let output = std::path::absolute(self.path(self.output)).unwrap();
        let output = output.ancestors().find_map(|above| {
            let rest = output.strip_prefix(above).unwrap();
            Some(above.canonicalize().ok()?.join(rest))
        });
        let output = output.unwrap().components().collect::<PathBuf>();
        let old = std::fs::read(output.join("_SUCCESS")).unwrap_or_default();
        let old: Value = serde_json::from_slice(&old).unwrap_or_default();
        let listed = old["outputs"].as_array().into_iter().flatten();
        let listed: Vec<String> =
            listed.filter_map(|object| Some(object["url"].as_str()?.to_owned())).collect();

        let ran = match self.place.job_of_run(self.fields(), "run-2") {
            Ok(job) => local::run(&job, &self.place.resources, &RunProgress::default()),
            Err(refused) => Err(refused),
        };
        let after = items(self.place.dir.path());
        let at = format!("seed {seed}: {} {:?}", self.fields()["output"], ran.as_ref().err());
        let gone: Vec<&PathBuf> = before
            .iter()
            .filter(|(path, item)| after.get(*path) != Some(*item))
            .map(|(path, _)| path)
            .collect();
        match &ran {
            Err(_) => assert!(gone.is_empty() && after.len() == before.len(), "{at}: touched {gone:?}"),
            Ok(_) => {
                for path in &gone {
                    assert!(self.replace, "{at}: {} went", path.display());
                    assert!(self.is_owned(path, &output, &listed), "{at}: {} was no run's", path.display());
                    let is_input = path.starts_with(self.path("in").canonicalize().unwrap());
                    assert!(!is_input, "{at}: {} was the input", path.display());
                }
                let mut there: Vec<_> =
                    after.keys().filter_map(|path| path.strip_prefix(&output).ok()).collect();
                there.sort();
                let names = ["_SUCCESS", "part-00000", "part-00001"].map(Path::new);
                assert_eq!(there, names, "{at}: nothing else is left");
            }
        }
        match (ran.is_ok(), gone.is_empty()) {
            (true, false) => Outcome::Replaced,
            (true, true) => Outcome::Written,
            (false, _) => Outcome::Refused,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Replaced,
    Written,
    Refused,
}

#[test]
fn nothing_goes_but_what_an_earlier_run_left() {
    if let Ok(seed) = std::env::var("SEED") {
        let seed = seed.parse().unwrap();
        println!("seed {seed}: {:?}", Layout::new(seed).check(seed));
        return;
    }
    let mut outcomes: BTreeMap<Outcome, u64> = BTreeMap::new();
    std::thread::scope(|scope| {
        let run = |from: u64| {
            move || (from..LAYOUTS).step_by(2).map(|seed| Layout::new(seed).check(seed)).collect()
        };
        let threads = [0, 1].map(|from| scope.spawn(run(from)));
        for thread in threads {
            let found: Vec<Outcome> = thread.join().unwrap();
            found.into_iter().for_each(|outcome| *outcomes.entry(outcome).or_default() += 1);
        }
    });
    // Each of them is met often enough to mean something.
    println!("{outcomes:?}");
    assert!(outcomes.len() == 3 && outcomes.values().all(|&count| count > LAYOUTS / 40), "{outcomes:?}");
}
