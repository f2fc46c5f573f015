//! Last words that are lost, and said once more.

use super::*;
use crate::creations::Creation;

/// A phase whose words are lost, with this report.
fn lost(child: Child, report: ChildState, restated: PodReport) -> Observed {
    Observed { report, restated, ..ended(child, JobState::Complete, PodReport::Unclear(String::new())) }
}

fn done() -> ChildState {
    ChildState::Ours(ChildJob { state: JobState::Complete, ..run(1) })
}

fn asked(made: u32, refused: u32, seen: Observed) -> Observed {
    Observed { creations: vec![(Child::Report, Creation { made, refused, last: at(0) })], ..seen }
}

#[test]
fn what_was_lost_is_said_once_more() {
    let lost_again = || lost(Child::Reduce, done(), PodReport::Lost);
    let absent = |child| lost(child, ChildState::Absent, PodReport::Unread);
    let failed = || ChildState::Ours(ChildJob { state: JobState::Failed("x".into()), ..run(1) });
    let suspended = |phase| job(phase, &json!({"suspend": true}));
    check(vec![
        ("somebody is asked", plain("Reducing"), absent(Child::Reduce), "create report 1/1"),
        (
            "and waited for",
            plain("Reducing"),
            lost(Child::Reduce, ChildState::Ours(run(1)), PodReport::Unread),
            "rest",
        ),
        ("the end is told", plain("Reducing"), lost(Child::Reduce, done(), finished()), "record Succeeded"),
        ("the plan is told", plain("Planning"), lost(Child::Plan, done(), planned(5)), "record Mapping"),
        (
            "by which a job may end",
            plain("Planning"),
            lost(Child::Plan, done(), finished()),
            "record Succeeded",
        ),
        (
            "what was said of the plan is not the end",
            plain("Reducing"),
            lost(Child::Reduce, done(), planned(5)),
            "delete report",
        ),
        ("what is lost again is asked for again", plain("Reducing"), lost_again(), "delete report"),
        (
            "after a pause",
            plain("Reducing"),
            asked(4, 0, Observed { now: at(2), ..absent(Child::Reduce) }),
            "rest 6 s",
        ),
        ("but not for ever", plain("Reducing"), asked(5, 0, absent(Child::Reduce)), "record Succeeded"),
        (
            "nor where it is refused",
            plain("Reducing"),
            asked(0, 5, absent(Child::Reduce)),
            "record Succeeded",
        ),
        (
            "a plan is made again then",
            plain("Planning"),
            asked(5, 0, Observed { words: PodReport::Lost, ..absent(Child::Plan) }),
            "delete plan",
        ),
        (
            "a report that fails says nothing",
            plain("Reducing"),
            lost(Child::Reduce, failed(), PodReport::Unread),
            "record Succeeded",
        ),
        ("no pod is made while suspended", suspended("Reducing"), absent(Child::Reduce), "rest"),
    ]);
}

#[test]
fn counters_are_those_that_were_said_once_more() {
    let status = recorded(&plain("Reducing"), &lost(Child::Reduce, done(), finished()));
    assert_eq!((status.output.unwrap().objects, status.counters.is_some()), (2, true));
    // Nobody can say them: they are in _SUCCESS alone.
    let status = recorded(&plain("Reducing"), &lost(Child::Reduce, ChildState::Foreign, PodReport::Unread));
    assert_eq!((status.counters, status.output), (None, None));
}

#[test]
fn a_report_of_an_earlier_phase_is_not_taken_for_one_of_this() {
    let run = |second, state| ChildJob { created: Some(Time(at(second))), state, ..run(1) };
    let mut seen =
        lost(Child::Reduce, ChildState::Ours(run(3, JobState::Failed("x".into()))), PodReport::Unread);
    if let ChildState::Ours(reduce) = &mut seen.reduce {
        reduce.completion_time = Some(Time(at(9)));
    }
    assert_eq!(told(&after(&plain("Reducing"), &seen)), "delete report");
}
