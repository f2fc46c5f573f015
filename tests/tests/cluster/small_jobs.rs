//! Kinds of job beside the main one.

use std::io::Write as _;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use mapreduce_tests::scenario::scenario;
use mapreduce_tests::text;
use serde_json::json;

#[test]
fn a_map_only_job_writes_what_it_emits_in_its_order() -> Result<()> {
    scenario("map-only", |scenario| {
        let lines: Vec<String> = (0..2000).map(|i| format!("k{}\tline {i}\n", i % 7)).collect();
        let lines = lines.concat();
        scenario.put("in/a", lines.clone())?;
        scenario.put("in/b", "z\tlast\n")?;
        let job = scenario.job("grepless", "in/", "out/").key_value_input().map("identity");
        let job = scenario.submit(job)?;
        let status = scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)?;
        ensure!(scenario.parts("out/")? == (lines + "z\tlast\n").as_bytes());
        ensure!(status["reduces"]["total"] == 0 && status["maps"]["progress"] == "1/1", "{status:#}");
        ensure!(status["counters"]["mapOutputRecords"] == 2001, "{:#}", status["counters"]);
        ensure!(status["counters"] == scenario.success("out/")?["counters"]);
        ensure!(scenario.get("job", "grepless-reduce")?.is_null(), "a map-only job had a reduce Job");
        Ok(())
    })
}

#[test]
fn an_empty_input_that_is_allowed_gives_empty_parts() -> Result<()> {
    scenario("empty", |scenario| {
        let job = scenario.job("nothing", "in/", "out/").word_count(2).set("/input/allowEmpty", json!(true));
        let job = scenario.submit(job)?;
        let status = scenario.succeeded(&job)?;
        scenario.only_parts("out/", 2)?;
        ensure!(scenario.parts("out/")?.is_empty());
        ensure!(
            status["counters"]["inputObjects"] == 0
                && scenario.success("out/")?["counters"] == status["counters"]
        );
        Ok(())
    })
}

#[test]
fn gzip_input_is_read_like_the_text_that_it_is() -> Result<()> {
    scenario("gzip", |scenario| {
        let text = text::text(4 << 20)?;
        let (first, second) = text.split_at(text.len() / 3);
        scenario.put("in/plain.txt", [first, b"\n"].concat())?;
        // Two members, and a name that doesn't say what it is.
        let (a, b) = second.split_at(second.len() / 2);
        scenario.put("in/object", [gzip(a)?, gzip(b)?].concat())?;
        let job = scenario.submit(scenario.job("gzip", "in/", "out/").word_count(2))?;
        let status = scenario.succeeded(&job)?;
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&[first, b"\n", second].concat())?)?;
        ensure!(status["counters"]["inputObjects"] == 2, "{:#}", status["counters"]);
        Ok(())
    })
}

#[test]
fn an_output_is_replaced_only_where_the_job_says_so() -> Result<()> {
    scenario("replace", |scenario| {
        scenario.put("in/a", "a b a\n")?;
        scenario.put("out/part-00000", "old\n")?;
        scenario.put("out/part-00007", "old\n")?;
        let job =
            scenario.job("replace", "in/", "out/").word_count(1).set("/output/ifExists", json!("Replace"));
        let job = scenario.submit(job)?;
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 1)?;
        ensure!(scenario.parts("out/")? == b"a\t2\nb\t1\n");
        Ok(())
    })
}

#[test]
fn intermediate_data_goes_where_the_job_says_and_is_removed_from_there() -> Result<()> {
    scenario("shuffle", |scenario| {
        let text = text::text(8 << 20)?;
        scenario.put("in/a", text.clone())?;
        let job = scenario.job("shuffle", "in/", "out/").word_count(2).slow(40);
        let job = scenario.submit(job.set("/shuffle/url", json!(scenario.url("elsewhere/"))))?;
        scenario.in_phase(&job, "Mapping")?;
        ensure!(!scenario.output("elsewhere/")?.is_empty(), "there is no plan elsewhere");
        // At the output stands who is at work there, and nothing of the data.
        let sign = scenario.output("out/")?;
        ensure!(sign.len() == 1 && sign[0].ends_with("/owner"), "{sign:?}");
        scenario.succeeded(&job)?;
        scenario.only_parts("out/", 2)?;
        scenario.nothing_below("elsewhere/")?;
        text::same_lines(&scenario.parts("out/")?, &text::word_count(&text)?)
    })
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
