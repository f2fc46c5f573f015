//! The jobs that faults happen to, and what each has to come to.

use anyhow::{Result, ensure};
use mapreduce_tests::chaos::random::Random;
use mapreduce_tests::manifest::MrJob;
use mapreduce_tests::scenario::{Scenario, condition};
use mapreduce_tests::text;
use serde_json::{Value, json};

/// A kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Combined,
    Uncombined,
    MapOnly,
    Steps,
    /// Whole in one pod.
    Small,
    /// Over an older result.
    Replace,
    /// Its reduce refuses the values.
    Failing,
}

const ALL: [Work; 7] =
    [Work::Combined, Work::Uncombined, Work::MapOnly, Work::Steps, Work::Small, Work::Replace, Work::Failing];
const OBJECTS: usize = 4;

/// What all jobs read, and what it comes to.
#[derive(Debug)]
pub(crate) struct Input {
    text: Vec<u8>,
    lines: Vec<u8>,
    counted: Vec<u8>,
}

impl Input {
    pub(crate) fn new() -> Result<Self> {
        let text = text::text(3 << 20)?;
        let lines: Vec<String> = (0..20_000).map(|i| format!("k{}\tline {i}\n", i % 97)).collect();
        // A word that is cut at an object's end is two.
        let pieces: Vec<_> = text.chunks(text.len().div_ceil(OBJECTS)).collect();
        let counted = text::word_count(&pieces.join(&b'\n'))?;
        Ok(Self { text, lines: lines.concat().into_bytes(), counted })
    }

    pub(crate) fn upload(&self, scenario: &Scenario) -> Result<()> {
        for (i, piece) in self.text.chunks(self.text.len().div_ceil(OBJECTS)).enumerate() {
            scenario.put(&format!("in/{i}"), piece.to_vec())?;
        }
        for (i, piece) in
            self.lines.split_inclusive(|b| *b == b'\n').collect::<Vec<_>>().chunks(5_000).enumerate()
        {
            scenario.put(&format!("lines/{i}"), piece.concat())?;
        }
        Ok(())
    }
}

/// A job of a round.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) work: Work,
    pub(crate) job: MrJob,
    output: String,
}

impl Trial {
    /// Draws one; `number` tells those of a round apart.
    pub(crate) fn draw(
        random: &mut Random,
        scenario: &Scenario,
        storage: &Value,
        number: usize,
    ) -> Result<Self> {
        let work = random.pick(&ALL);
        let output = format!("out{number}/");
        let name = format!("{work:?}{number}").to_lowercase();
        let input = if matches!(work, Work::MapOnly | Work::Failing) { "lines/" } else { "in/" };
        let job = scenario.job(&name, input, &output).set("/storage", storage.clone());
        let job = match work {
            Work::Combined => job.word_count(2),
            Work::Uncombined => job.map("words").reduce("sum", 3),
            Work::MapOnly => job.key_value_input().map("identity"),
            Work::Steps => {
                let function = |name: &str| json!({"function": {"builtin": {"name": name}}});
                let sum = json!({"function": {"builtin": {"name": "sum"}}, "tasks": 2});
                job.set("/steps", json!([
                    {"name": "count", "map": function("words"), "combine": function("sum"), "reduce": sum},
                    {"name": "again", "reduce": sum},
                ]))
            }
            Work::Small => job.word_count(1).set("/small/mode", json!("Auto")),
            Work::Replace => {
                for old in ["part-00000", "part-00001", "part-00002", "_SUCCESS"] {
                    scenario.put(&format!("{output}{old}"), "{}\n")?;
                }
                job.word_count(2).set("/output/ifExists", json!("Replace"))
            }
            Work::Failing => job.key_value_input().map("identity").reduce("sum", 2),
        };
        let job = if matches!(work, Work::MapOnly | Work::Small | Work::Steps) {
            job
        } else {
            job.slow(50).set("/input/splitSize", json!("800Ki"))
        };
        Ok(Self { work, job, output })
    }

    /// An error unless the job has come to what it has to.
    pub(crate) fn judge(&self, scenario: &Scenario, input: &Input, status: &Value) -> Result<()> {
        if self.work == Work::Failing {
            ensure!(status["phase"] == "Failed", "it should have failed: {status:#}");
            let failed = condition(status, "Failed").unwrap_or(&Value::Null);
            ensure!(
                failed["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
                "no reason: {status:#}"
            );
            ensure!(failed["message"].as_str().is_some_and(|m| m.contains("line ")), "no record: {failed:#}");
            return Ok(());
        }
        ensure!(status["phase"] == "Succeeded", "it failed: {:#}", status["conditions"]);
        let parts = match self.work {
            Work::Uncombined => 3,
            Work::Small => 1,
            Work::MapOnly => status["maps"]["total"].as_u64().unwrap_or_default() as usize,
            _ => 2,
        };
        scenario.only_parts(&self.output, parts)?;
        let (want, bytes) = match self.work {
            Work::MapOnly => (&input.lines, input.lines.len()),
            _ => (&input.counted, input.text.len()),
        };
        text::same_lines(&scenario.parts(&self.output)?, want)?;
        let counters = &status["counters"];
        ensure!(
            *counters == scenario.success(&self.output)?["counters"],
            "{counters:#} are not those of _SUCCESS"
        );
        ensure!(counters["inputBytes"] == json!(bytes), "{counters:#}");
        let lines = want.split(|b| *b == b'\n').count() - 1;
        let (counter, lines) = match self.work {
            Work::MapOnly => ("mapOutputRecords", lines),
            // Of both steps together.
            Work::Steps => ("reduceOutputRecords", 2 * lines),
            _ => ("reduceOutputRecords", lines),
        };
        ensure!(counters[counter] == json!(lines), "{counter} is not {lines}: {counters:#}");
        Ok(())
    }

    /// An error when a job that has ended, and was deleted, has left more than its result.
    pub(crate) fn judge_rest(&self, scenario: &Scenario) -> Result<()> {
        if self.work == Work::Failing { scenario.nothing_below(&self.output) } else { scenario.no_uploads() }
    }
}
