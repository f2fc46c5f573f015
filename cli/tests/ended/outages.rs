//! A store that is away for a while, as who has typed the command sees it.

use serde_json::json;

use super::server::{Away, Request};
use super::{Moment, Place, code, said, send};

#[test]
fn a_run_says_once_that_the_store_is_away_and_once_that_it_is_back() {
    for moment in [Moment::ReadsInput, Moment::CompletesPart, Moment::WritesSuccess] {
        let place = Place::new(&json!({"retries": 0}));
        let meant = move |request: &Request| Moment::of(request) == moment;
        place.s3.goes_away(meant, Away::Refuses, 1);
        let output = place.run();
        assert!(place.s3.turned_away() == 1 && place.s3.is_back(), "{moment:?}: it was not away");
        assert_eq!(code(&output), Some(0), "{moment:?}: {}", said(&output));
        place.assert_right(&format!("{moment:?}"));
        let text = String::from_utf8(output.stderr).unwrap();
        let lines = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!((lines("The store is away since "), lines("The store is back after ")), (1, 1), "{text}");
        let cause = "the connection was refused: nothing listens there";
        assert!(text.contains(cause) && text.contains(&place.s3.endpoint()), "{text}");
    }
}

#[test]
fn a_run_whose_store_stays_away_says_for_how_long_it_was_tried_and_what_to_do() {
    let place = Place::new(&json!({}));
    let storage = json!({"s3": {"endpoint": place.s3.endpoint()}, "timeoutSeconds": 1});
    place.manifest("job.yaml", &json!({"storage": storage}));
    place.s3.goes_away(|request| Moment::of(request) == Moment::ReadsInput, Away::Resets, usize::MAX);
    let output = place.run();
    assert!(place.s3.turned_away() > 0, "it was not away");
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("can't read s3://b/in/") && text.contains(": the store was away for "), "{text}");
    assert!(text.contains("spec.storage.timeoutSeconds says for how long"), "{text}");
}

#[test]
fn a_run_whose_store_hangs_ends_at_a_signal_and_says_once_what_is_left_and_what_to_type() {
    for (shuffle, left) in
        [(json!({}), "s3://b/out/_mapreduce-"), (json!({"url": "s3://b/shuffle/"}), "s3://b/shuffle/")]
    {
        let place = Place::new(&json!({"shuffle": shuffle}));
        place.s3.goes_away(|request| Moment::of(request) == Moment::StagesPart, Away::Hangs, usize::MAX);
        let child = place.command("job.yaml").spawn().unwrap();
        while place.s3.turned_away() == 0 {
            std::thread::yield_now();
        }
        send("INT", child.id());
        let output = child.wait_with_output().unwrap();
        assert!(!place.s3.is_back(), "it was to hang until the end");
        assert_eq!(code(&output), Some(130), "{}", said(&output));
        let text = said(&output);
        let told = "What the run has written may be left, in s3://b/out/_mapreduce-";
        assert_eq!(text.matches(told).count(), 1, "{text}");
        assert!(text.contains("the next `mapreduce run` here with that output removes it"), "{text}");
        assert!(text.contains(&format!("aws s3 rm --recursive '{left}")), "{text}");
    }
}
