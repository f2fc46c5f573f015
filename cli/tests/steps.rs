//! Jobs with steps as a user runs them: the examples, what is printed, what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

fn examples() -> PathBuf {
    Path::new("../examples").canonicalize().unwrap()
}

/// Runs the command in a folder.
fn mapreduce(folder: &Path, args: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("mapreduce")).args(args).current_dir(folder).output().unwrap()
}

fn example(folder: &Path, command: &str, name: &str, args: &[&str]) -> String {
    let file = examples().join(name);
    let args: Vec<&str> = [command, file.to_str().unwrap()].iter().chain(args).copied().collect();
    let output = mapreduce(folder, &args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn result(folder: &Path) -> String {
    let mut names: Vec<_> =
        std::fs::read_dir(folder.join("out")).unwrap().map(|item| item.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["_SUCCESS", "part-00000"]);
    std::fs::read_to_string(folder.join("out/part-00000")).unwrap()
}

#[test]
fn the_example_of_steps_makes_a_histogram() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "To be or not to be\nthat is the question\n").unwrap();
    let said =
        example(dir.path(), "run", "steps.yaml", &["--input", "file:in", "--output", "file:out", "--quiet"]);
    // that, is, the, question, or, not; to, be
    assert_eq!(result(dir.path()), "1\t6\n2\t2\n");
    for line in [
        "input    1 object, 40 B, 2 records",
        "step     count: map 10 pairs emitted; combine 10 pairs to 8; reduce 8 keys, 8 pairs",
        "step     histogram: map 8 pairs emitted; reduce 2 keys, 8 pairs",
        "step     sort: map 2 pairs emitted; reduce 2 keys, 2 pairs",
        "output   1 part, 8 B, 2 records",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
}

#[test]
fn counters_are_told_for_each_step_and_for_all() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "to be or not to be\n").unwrap();
    let text =
        example(dir.path(), "run", "steps.yaml", &["--input", "file:in", "--output", "file:out", "--json"]);
    let said: Value = serde_json::from_str(&text).unwrap();
    let steps: Vec<_> = said["steps"].as_array().unwrap().iter().collect();
    let numbers =
        |counter: &str| steps.iter().map(|step| step["counters"][counter].clone()).collect::<Vec<_>>();
    assert_eq!(steps.iter().map(|step| &step["name"]).collect::<Vec<_>>(), ["count", "histogram", "sort"]);
    assert_eq!(numbers("mapInputRecords"), [1, 4, 2]);
    assert_eq!(numbers("inputObjects"), [1, 0, 0]);
    assert_eq!(numbers("outputBytes"), [0, 0, 8]);
    assert_eq!(said["counters"]["mapInputRecords"], 7);
    let success: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("out/_SUCCESS")).unwrap()).unwrap();
    assert_eq!((&success["steps"], &success["counters"]), (&said["steps"], &said["counters"]));
}

/// Ten rounds, without a map or a reduce.
fn page_ranks(links: &str) -> Vec<(String, String)> {
    let graph: BTreeMap<&str, Vec<&str>> = links
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(page, links)| (page, links.split(' ').collect()))
        .collect();
    let mut ranks: BTreeMap<&str, f64> = graph.keys().map(|page| (*page, 1.0)).collect();
    for _ in 0..10 {
        let mut next: BTreeMap<&str, f64> = graph.keys().map(|page| (*page, 0.15)).collect();
        for (page, links) in &graph {
            links
                .iter()
                .for_each(|link| *next.get_mut(link).unwrap() += 0.85 * ranks[page] / links.len() as f64);
        }
        ranks = next;
    }
    let mut found: Vec<_> =
        ranks.iter().map(|(page, rank)| (format!("{rank:.6}"), (*page).to_owned())).collect();
    found.sort_by(|a, b| b.0.parse::<f64>().unwrap().total_cmp(&a.0.parse().unwrap()).then(a.1.cmp(&b.1)));
    found
}

#[test]
fn the_example_of_page_rank_ranks_pages() {
    let dir = tempfile::tempdir().unwrap();
    example(dir.path(), "run", "pagerank.yaml", &["--output", "file:out", "--quiet"]);
    let found: Vec<_> = result(dir.path())
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(rank, page)| (rank.to_owned(), page.to_owned()))
        .collect();
    let links = std::fs::read_to_string(examples().join("data/links.txt")).unwrap();
    assert_eq!(found, page_ranks(&links));
    assert_eq!(found[0].1, "home");
}

#[test]
fn a_plan_is_of_the_first_step_and_names_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let text = example(dir.path(), "plan", "steps.yaml", &[]);
    assert!(text.starts_with("steps, step count\n"), "{text}");
    assert!(
        text.contains(
            "then step   histogram, as many partitions as suit its input: planned when count is complete"
        ),
        "{text}"
    );
    assert!(text.contains("then step   sort, 1 partition: planned when histogram is complete"), "{text}");
    let json: Value = serde_json::from_str(&example(dir.path(), "plan", "steps.yaml", &["--json"])).unwrap();
    assert_eq!(json["step"], "count");
    assert_eq!(
        json["laterSteps"],
        json!([{"name": "histogram", "partitions": null}, {"name": "sort", "partitions": 1}])
    );
}

#[test]
fn progress_names_the_step() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), "to be or not to be\n").unwrap();
    let file = examples().join("steps.yaml");
    let output =
        mapreduce(dir.path(), &["run", file.to_str().unwrap(), "--input", "file:in", "--output", "file:out"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("steps: step sort (3 of 3): map 1/1, reduce 1/1, "), "{said}");
}

#[test]
fn what_a_manifest_says_wrong_of_a_step_is_exit_code_2_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(examples().join("steps.yaml")).unwrap();
    for (original, replacement, says) in [
        ("name: histogram", "name: count", "each of the steps has a name of its own"),
        ("name: histogram", "name: Histogram", "spec.steps[1].name"),
        ("{name: fields}", "{name: fieldz}", "spec.steps[1].map.function: there is no map builtin `fieldz`"),
        ("{name: identity}", "{name: sum, args: {x: 1}}", "spec.steps[2].reduce.function"),
        ("sort: {by: Numeric}", "sort: {keyFields: x}", "spec.steps[2].reduce.sort"),
        ("  steps:", "  reduce: {tasks: 0}\n  steps:", "steps go in place of map, combine and reduce"),
        ("        tasks: 1", "        task: 1", "unknown field `task`"),
    ] {
        assert!(good.contains(original), "{original}");
        std::fs::write(dir.path().join("job.yaml"), good.replacen(original, replacement, 1)).unwrap();
        for command in ["run", "plan", "validate"] {
            let output = mapreduce(dir.path(), &[command, "job.yaml"]);
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{command}: {text}");
            assert!(text.contains(says), "{command}: {says}\n{text}");
        }
    }
}
