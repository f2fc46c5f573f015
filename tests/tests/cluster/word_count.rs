//! The main job on real input.

use anyhow::{Result, ensure};
use mapreduce_tests::scenario::{Scenario, scenario};
use mapreduce_tests::text;
use serde_json::json;

const MIB: usize = 1 << 20;

/// Text in objects of several sizes: large ones that are cut, and small ones that are packed.
fn upload(scenario: &Scenario, text: &[u8]) -> Result<usize> {
    let sizes = [30 * MIB + 1, 12 * MIB, 3 * MIB, MIB, 100_000, 10_000, 100, 1];
    let mut rest = text;
    let mut objects = 0;
    while !rest.is_empty() {
        let object = &rest[..rest.len().min(sizes[objects % sizes.len()])];
        rest = &rest[object.len()..];
        scenario.put(&format!("in/folder{}/object{objects}", objects % 3), object.to_vec())?;
        objects += 1;
    }
    Ok(objects)
}

#[test]
fn the_words_of_real_text_are_counted_as_coreutils_count_them() -> Result<()> {
    scenario("words", |scenario| {
        let text = text::text(96 * MIB)?;
        let objects = upload(scenario, &text)?;
        let job =
            scenario.job("wordcount", "in/", "out/").word_count(3).set("/input/splitSize", json!("8Mi"));
        let job = scenario.submit(job)?;
        // Cut words at the ends of objects are words of their own: what is counted is what was put together.
        let want = std::thread::scope(|scope| {
            let count = scope.spawn(|| text::word_count(&joined(scenario)?));
            scenario.kubectl(&["wait", "--for=condition=Complete", "--timeout=240s", "mrj/wordcount"])?;
            count.join().unwrap()
        })?;
        text::same_lines(&scenario.parts("out/")?, &want)?;
        scenario.only_parts("out/", 3)?;

        let (status, success) = (scenario.succeeded(&job)?, scenario.success("out/")?);
        ensure!(
            status["counters"] == success["counters"],
            "{:#} and {:#}",
            status["counters"],
            success["counters"]
        );
        let words = want.split(|b| *b == b'\n').count() - 1;
        for (counter, value) in [
            ("inputObjects", objects),
            ("inputBytes", text.len()),
            ("reduceInputGroups", words),
            ("reduceOutputRecords", words),
            ("outputBytes", want.len()),
            ("failedTasks", 0),
        ] {
            ensure!(
                success["counters"][counter] == json!(value),
                "{counter} is {}, not {value}",
                success["counters"][counter]
            );
        }
        ensure!(status["output"]["objects"] == json!(3), "{:#}", status["output"]);
        // One write for each of the tasks, 3 of which reduce, and those of the last one at the end.
        let maps = status["maps"]["total"].as_u64().unwrap_or_default();
        let writes = success["counters"]["shuffleWrites"].as_u64().unwrap_or_default();
        ensure!((maps + 3..=maps + 6).contains(&writes), "{writes} writes for {maps} map tasks");
        scenario.let_go(&job)?;

        // The columns, and the numbers of pods that were really there.
        let table = scenario.kubectl(&["get", "mrj"])?;
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let maps = status["maps"]["total"].as_u64().unwrap_or_default();
        ensure!(maps > 3, "the input was not divided: {maps} map tasks");
        let pods = scenario.owned("pods", &job)?;
        let of_phase = |phase: &str| {
            pods.iter().filter(|pod| pod["metadata"]["labels"]["mapreduce.dev/phase"] == phase).count()
        };
        ensure!(
            (of_phase("plan"), of_phase("map"), of_phase("reduce")) == (1, maps as usize, 3),
            "{} pods",
            pods.len()
        );
        ensure!(rows[0] == ["NAME", "PHASE", "MAPS", "REDUCES", "AGE"], "{table}");
        ensure!(rows[1][..4] == ["wordcount", "Succeeded", &format!("{maps}/{maps}"), "3/3"], "{table}");
        Ok(())
    })
}

/// All input objects one after the other, each ending in a newline, as no record spans two.
fn joined(scenario: &Scenario) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for name in scenario.output("in/")? {
        all.extend_from_slice(&scenario.cluster.bucket.get(&scenario.key(&format!("in/{name}")))?);
        all.push(b'\n');
    }
    Ok(all)
}
