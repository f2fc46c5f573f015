//! Ctrl-C, SIGTERM and the deadline: what is there afterwards is what the exit code says.

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::server::{Fault, Request};
use super::{Moment, Place, code, report, said};

/// That the run has succeeded and its whole result is there, or that it was stopped and nothing is.
fn assert_one_truth(place: &Place, output: &Output, stopped: i32, context: &str) -> bool {
    let context = format!("{context}: {}", said(output));
    let has_succeeded = code(output) == Some(0);
    if has_succeeded {
        assert_eq!(report(output)["state"], "Succeeded", "{context}");
        place.assert_right(&context);
    } else {
        assert_eq!((code(output), &report(output)["state"]), (Some(stopped), &json!("Failed")), "{context}");
        assert!(place.written().is_empty(), "{context}: {:?}", place.written());
    }
    assert!(place.s3.uploads().is_empty(), "{context}: {:?}", place.s3.uploads());
    has_succeeded
}

fn shuffles() -> [Value; 2] {
    [json!({}), json!({"shuffle": {"url": "s3://b/shuffle/"}})]
}

type IsMeant = Box<dyn Fn(&Request) -> bool + Send + Sync>;

/// Sends a signal at each request of a run, one run a request, and at the first of each kind.
fn interrupt_everywhere(signal: &'static str, stopped: i32, fields: &Value) {
    let mut ends = BTreeSet::new();
    let mut interrupt = |is_meant: IsMeant, what: String| {
        let place = Place::new(fields);
        let (output, moment) = place.run_until(signal, is_meant, |_| None);
        let context = format!("{fields}, {signal} at {what}, {moment:?}");
        moment.inspect(|&moment| {
            ends.insert((moment, assert_one_truth(&place, &output, stopped, &context)));
        })
    };
    for at in 1.. {
        let asked = AtomicUsize::new(0);
        let is_meant = move |_: &Request| asked.fetch_add(1, Ordering::Relaxed) + 1 == at;
        if interrupt(Box::new(is_meant), format!("request {at}")).is_none() {
            break;
        }
    }
    for moment in [Moment::ReadsInput, Moment::StagesPart, Moment::CompletesPart, Moment::WritesSuccess] {
        let seen = interrupt(Box::new(move |request| Moment::of(request) == moment), "the first".into());
        assert_eq!(seen, Some(moment));
    }
    let stopped: BTreeSet<Moment> = ends.iter().filter(|end| !end.1).map(|end| end.0).collect();
    assert!(stopped.contains(&Moment::ReadsInput) && stopped.contains(&Moment::StagesPart), "{ends:?}");
    assert!(ends.contains(&(Moment::WritesSuccess, true)), "{ends:?}");
}

#[test]
fn an_interrupt_at_any_request_leaves_the_whole_result_or_nothing() {
    interrupt_everywhere("INT", 130, &shuffles()[0]);
}

#[test]
fn an_interrupt_at_any_request_of_a_run_with_a_shuffle_in_the_bucket_leaves_the_whole_result_or_nothing() {
    interrupt_everywhere("TERM", 143, &shuffles()[1]);
}

/// Answers none of the requests of a moment any more: what asks for them gets no further.
fn cut_off(moment: Moment) -> impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static {
    move |request| (Moment::of(request) == moment).then_some(Fault::Closed)
}

#[test]
fn a_run_that_waits_for_the_store_ends_at_a_signal_with_nothing_left() {
    for moment in [Moment::ReadsInput, Moment::StagesPart, Moment::CompletesPart] {
        for (fields, (signal, stopped)) in shuffles().iter().zip([("INT", 130), ("TERM", 143)]) {
            let place = Place::new(fields);
            let is_meant = move |request: &Request| Moment::of(request) == moment;
            let (output, seen) = place.run_until(signal, is_meant, cut_off(moment));
            assert_eq!(seen, Some(moment));
            let context = format!("{fields}, {signal}, cut off at {moment:?}");
            assert!(!assert_one_truth(&place, &output, stopped, &context), "{context}: it has succeeded");
        }
    }
}

#[test]
fn a_run_that_waits_for_its_commits_ends_at_a_signal_with_nothing_left() {
    let place = Place::new(&shuffles()[1]);
    let commits = |request: &Request| request.is_put() && request.key().contains("/commit/reduce-");
    let cut_off = move |request: &Request| commits(request).then_some(Fault::Closed);
    let (output, seen) = place.run_until("INT", commits, cut_off);
    assert_eq!(seen, Some(Moment::Another), "nothing was committed");
    assert!(!assert_one_truth(&place, &output, 130, "cut off at a commit"));
}

#[test]
fn a_run_that_writes_its_success_when_a_signal_comes_has_succeeded_however_long_that_takes() {
    for (fields, signal) in shuffles().iter().zip(["INT", "TERM"]) {
        let place = Place::new(fields);
        let writes_success = |request: &Request| Moment::of(request) == Moment::WritesSuccess;
        // Each time the run waits for a tenth of a second at least: it is long past the moment at which it would be
        // ended.
        let refused = AtomicUsize::new(0);
        let refuse = move |request: &Request| {
            let more = writes_success(request) && refused.fetch_add(1, Ordering::Relaxed) < 5;
            more.then_some(Fault::Closed)
        };
        let (output, seen) = place.run_until(signal, writes_success, refuse);
        assert_eq!(seen, Some(Moment::WritesSuccess));
        let has_succeeded = assert_one_truth(&place, &output, 0, &format!("{fields}, {signal}"));
        assert!(has_succeeded, "{}", said(&output));
        let writes = place.s3.asked().iter().filter(|request| writes_success(request)).count();
        assert_eq!(writes, 6, "five were refused");
    }
}

#[test]
fn a_run_that_has_begun_to_replace_an_old_result_ends_with_the_new_one() {
    for (mut fields, signal) in shuffles().into_iter().zip(["INT", "TERM"]) {
        fields["output"] = json!({"url": "s3://b/out/", "ifExists": "Replace"});
        let place = Place::new(&fields);
        for old in ["out/part-00007", "out/_SUCCESS"] {
            place.s3.put(old, "{}");
        }
        let completes = |request: &Request| Moment::of(request) == Moment::CompletesPart;
        // Each time the run waits, until it is long past the moment at which it would be ended.
        let refused = AtomicUsize::new(0);
        let refuse = move |request: &Request| {
            let more = completes(request) && refused.fetch_add(1, Ordering::Relaxed) < 5;
            more.then_some(Fault::Closed)
        };
        let (output, seen) = place.run_until(signal, completes, refuse);
        assert_eq!(seen, Some(Moment::CompletesPart));
        let has_succeeded = assert_one_truth(&place, &output, 0, &format!("{fields}, {signal}"));
        assert!(has_succeeded, "{}", said(&output));
    }
}

#[test]
fn a_run_at_its_deadline_leaves_nothing_in_the_bucket() {
    for moment in [Moment::ReadsInput, Moment::StagesPart, Moment::CompletesPart] {
        for mut fields in shuffles() {
            fields["activeDeadlineSeconds"] = json!(1);
            let place = Place::new(&fields);
            let is_met = std::sync::Arc::new(AtomicUsize::new(0));
            let met = std::sync::Arc::clone(&is_met);
            place.s3.on(move |request| {
                let cut = cut_off(moment)(request);
                met.fetch_add(cut.iter().count(), Ordering::Relaxed);
                cut
            });
            let output = place.command("job.yaml").output().unwrap();
            assert!(is_met.load(Ordering::Relaxed) > 0, "{moment:?}: nothing was asked for");
            let context = format!("{fields}, cut off at {moment:?}");
            assert!(!assert_one_truth(&place, &output, 1, &context), "{context}: it has succeeded");
            let message = report(&output)["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains("spec.activeDeadlineSeconds: 1"), "{message}");
        }
    }
}

#[test]
fn a_function_that_can_not_be_stopped_leaves_nothing_of_the_tasks_before_it() {
    // A call of a built-in function that takes hours, in the task of the second object.
    let source = "function map(key, value) { if (value == 'that is the question') 'a'.repeat(1e7).includes('a'.repeat(5e6) + 'b'); }";
    let place = Place::new(&json!({
        "input": {"urls": ["s3://b/in/"], "splitSize": 1},
        "map": {"function": {"script": {"language": "javascript", "source": source}}},
        "reduce": {"tasks": 0}, "taskTimeoutSeconds": 1,
    }));
    let output = place.command("job.yaml").output().unwrap();
    let message = report(&output)["error"]["message"].clone();
    assert_eq!(message, "the map script made no progress for 1 s", "{}", said(&output));
    let begun = place.s3.asked().iter().filter(|request| Moment::of(request) == Moment::StagesPart).count();
    assert!(begun > 0, "no task had ended before");
    assert!(!assert_one_truth(&place, &output, 1, "it can't be stopped"));
}
