//! `kill -9`: the next run has the right result, and takes away what the dead one left.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::server::Request;
use super::{Moment, Place, TEXTS, assert_counts, code, names, said};

/// Kills a run at each of its requests, one run a request, and runs the job again.
fn kill_everywhere(fields: &Value, if_exists: &str) {
    let mut kills = 0;
    for at in 1.. {
        let mut fields = fields.clone();
        fields["output"] = json!({"url": "s3://b/out/", "ifExists": if_exists});
        let place = Place::new(&fields);
        let asked = AtomicUsize::new(0);
        let is_meant = move |_: &Request| asked.fetch_add(1, Ordering::Relaxed) + 1 == at;
        let (output, moment) = place.run_until("KILL", is_meant, |_| None);
        let Some(moment) = moment else { break };
        assert_killed(&output);
        kills += 1;
        let had_succeeded = place.s3.get("out/_SUCCESS").is_some();
        let again = place.run();
        let context = format!("{fields}, killed at request {at}, {moment:?}: {}", said(&again));
        if had_succeeded && if_exists == "Fail" {
            // It is a result like any other.
            assert_eq!(code(&again), Some(1), "{context}");
            assert!(said(&again).contains("exists: "), "{context}");
        } else {
            assert_eq!(code(&again), Some(0), "{context}");
        }
        place.assert_right(&context);
    }
    assert!(kills > 20, "{fields}: {kills}");
}

#[test]
fn after_a_kill_at_any_request_the_next_run_is_right_and_no_object_of_the_first_is_left() {
    kill_everywhere(&json!({}), "Fail");
}

#[test]
fn after_a_kill_at_any_request_of_a_run_with_a_shuffle_in_the_bucket_the_next_one_replaces_all_of_it() {
    kill_everywhere(&json!({"shuffle": {"url": "s3://b/shuffle/"}}), "Replace");
}

#[test]
fn uploads_that_are_under_way_at_a_kill_are_aborted_by_the_next_run() {
    // A part that is uploaded in pieces, one of them for ever.
    let text = "0123456789abcdef".repeat(20 << 16);
    let fields = json!({
        "map": {"function": {"builtin": {"name": "identity"}}}, "reduce": {"tasks": 0}, "input": {"urls": ["s3://b/large/"]},
    });
    for piece in ["1", "2"] {
        let place = Place::new(&fields);
        place.s3.put("large/x", &text);
        let is_meant = move |request: &Request| {
            request.asks("uploadId") && request.query.get("partNumber").is_some_and(|number| number == piece)
        };
        let (output, moment) = place.run_until("KILL", is_meant, |_| None);
        assert_eq!(moment, Some(Moment::StagesPart), "{piece}: no upload was under way");
        assert_killed(&output);
        let left: Vec<_> = place.s3.uploads().into_values().map(|upload| upload.key).collect();
        assert_eq!(left, [b"out/part-00000"], "{piece}");
        let again = place.run();
        assert_eq!(code(&again), Some(0), "{piece}: {}", said(&again));
        assert!(place.s3.uploads().is_empty(), "{piece}: {:?}", place.s3.uploads().keys());
        let size = place.s3.get("out/part-00000").map(|part| part.len());
        assert!(size.is_some_and(|size| size > text.len()), "{piece}: {size:?}");
    }
}

#[test]
fn folders_of_functions_go_with_the_next_run_after_a_kill() {
    let place = local("Replace", &json!({}));
    let function_folders = |place: &Place| {
        names(place.path()).into_iter().filter(|name| name.starts_with("mapreduce-function-")).count()
    };
    let mark = place.path().join("killed");
    let shell = format!("if mkdir {} 2>/dev/null; then kill -9 $PPID; fi; cat", mark.display());
    place.manifest(
        "job.yaml",
        &json!({
            "input": {"urls": ["file:in/"]}, "output": {"url": "file:out/", "ifExists": "Replace"},
            "map": {"function": {"command": {"shell": shell}}}, "reduce": {"tasks": 0},
        }),
    );
    assert_killed(&place.command("job.yaml").output().unwrap());
    assert!(function_folders(&place) > 0, "the killed run has left none");
    // Another's, which may be alive.
    let others = place.path().join("mapreduce-function-1-2-3-4.x");
    std::fs::create_dir(&others).unwrap();
    let again = place.run();
    assert_eq!(code(&again), Some(0), "{}", said(&again));
    assert!(others.exists() && function_folders(&place) == 1, "{:?}", names(place.path()));
}

/// A word count of files into files, with these fields in their place.
fn local(if_exists: &str, fields: &Value) -> Place {
    let place = Place::new(&json!({}));
    for (i, text) in TEXTS.iter().enumerate() {
        std::fs::create_dir_all(place.path().join("in")).unwrap();
        std::fs::write(place.path().join(format!("in/{i}")), text).unwrap();
    }
    let mut all =
        json!({"input": {"urls": ["file:in/"]}, "output": {"url": "file:out/", "ifExists": if_exists}});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    place.manifest("job.yaml", &all);
    place
}

fn assert_killed(output: &Output) {
    assert_eq!(output.status.signal(), Some(9), "{}", said(output));
}

/// That a run after one that was killed has the right result in so many parts, and that nothing else is left.
fn assert_right_again(place: &Place, parts: usize, context: &str) {
    let again = place.run();
    let context = format!("{context}: {}", said(&again));
    assert_eq!(code(&again), Some(0), "{context}");
    let (out, found) = (place.path().join("out"), names(&place.path().join("out")));
    let (success, found) = found.split_first().unwrap();
    assert!(success == "_SUCCESS" && found.len() == parts, "{context}: {found:?}");
    assert!(found.iter().all(|name| name.starts_with("part-")), "{context}: {found:?}");
    let parts: Vec<u8> = found.iter().flat_map(|part| std::fs::read(out.join(part)).unwrap()).collect();
    assert_counts(&parts, &context);
    assert_eq!(names(&place.path().join("shuffle")), [""; 0], "{context}");
}

#[test]
fn after_a_kill_in_a_function_the_next_run_to_a_folder_is_right() {
    let map = "tr -s ' ' '\\n' | sed 's/$/\t1/'";
    let reduce = "awk -F '\t' '{ n[$1] += $2 } END { for (k in n) print k \"\t\" n[k] }'";
    for (if_exists, shuffle) in [("Fail", json!({})), ("Replace", json!({"url": "file:shuffle/"}))] {
        for (phase, work) in [("map", map), ("reduce", reduce)] {
            let place = local(if_exists, &json!({}));
            // The first to come here kills the run.
            let mark = place.path().join("killed");
            let shell =
                format!("if mkdir {} 2>/dev/null; then kill -9 $PPID; sleep 60; fi; {work}", mark.display());
            let mut fields = json!({"input": {"urls": ["file:in/"]}, "shuffle": shuffle});
            fields["output"] = json!({"url": "file:out/", "ifExists": if_exists});
            fields[phase] = json!({"function": {"command": {"shell": shell}}});
            if phase == "reduce" {
                fields[phase]["tasks"] = json!(2);
            }
            place.manifest("job.yaml", &fields);
            assert_killed(&place.command("job.yaml").output().unwrap());
            assert!(mark.exists(), "{phase}");
            assert_right_again(&place, 2, &format!("{phase}, {if_exists}"));
        }
    }
}

#[test]
fn after_a_kill_while_parts_appear_in_a_folder_the_next_run_is_right() {
    // So many that the first is seen long before the last is there.
    const PARTS: usize = 2000;
    let sum = json!({"function": {"builtin": {"name": "sum"}}, "tasks": PARTS});
    for if_exists in ["Fail", "Replace"] {
        let mut tries = 0;
        let place = loop {
            let place = local(if_exists, &json!({"reduce": sum}));
            let out = place.path().join("out");
            let mut run = place.command("job.yaml").spawn().unwrap();
            while !out.join("part-00000").exists() && run.try_wait().unwrap().is_none() {}
            run.kill().unwrap();
            let output = run.wait_with_output().unwrap();
            if output.status.signal() == Some(9) && !out.join("_SUCCESS").exists() {
                break place;
            }
            tries += 1;
            assert!(tries < 20, "it was always done before: {}", said(&output));
        };
        let found = names(&place.path().join("out"));
        assert!(found.iter().any(|name| name.starts_with("part-")), "{found:?}");
        assert_right_again(&place, PARTS, if_exists);
    }
}
