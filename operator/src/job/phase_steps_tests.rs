//! A job with steps: each phase at each step against what there can be beside it.

use mapreduce_api::v1alpha1::{JobStep, MapReduceJob};
use mapreduce_api::wire::{Counters, JobSummary, PlanSummary};
use serde_json::json;

use super::{check, deleted, ended, failed, job, planned, recorded, released, run, seen, slot, with};
use crate::job::build::names::Child::{self, Map, Plan, Reduce};
use crate::job::events::of_change;
use crate::job::observed::JobState::{Complete, Failed};
use crate::job::observed::{ChildState, Observed, PodReport, Reason};
use crate::job::status::{PLANNED, condition};

/// A job of three steps, of which the second is map-only, at one of them.
fn chain(phase: &str, number: i32) -> MapReduceJob {
    let steps = json!([
        {"name": "count", "reduce": {"function": {"builtin": {"name": "sum"}}}},
        {"name": "swap", "map": {"parallelism": 2}},
        {"name": "sort", "reduce": {"function": {"builtin": {"name": "identity"}}, "parallelism": 1}},
    ]);
    let mut job = job(phase, &json!({"steps": steps}));
    job.spec.reduce = None;
    if let Some(status) = &mut job.status {
        let name = ["count", "swap", "sort"][number as usize - 1].to_owned();
        status.step = Some(JobStep { name, number, total: 3 });
        status.percent = Some((number - 1) * 100 / 3).filter(|percent| *percent > 0);
        if number == 2 {
            status.reduces.as_mut().into_iter().for_each(|counts| counts.total = 0);
        }
    }
    job
}

/// A plan of a step after the first: what the one before has done comes with it.
fn planned_behind(map_tasks: u32, before: u64) -> PodReport {
    let before = Some(Counters { map_input_records: before, ..Counters::default() });
    PodReport::Planned(PlanSummary { map_tasks, input_objects: 4, before, ..PlanSummary::default() })
}

fn finished() -> PodReport {
    let last_step = Some(Counters { map_input_records: 3, ..Counters::default() });
    PodReport::Finished(Box::new(JobSummary { committed: true, last_step, ..JobSummary::default() }))
}

fn step_of(job: &MapReduceJob, seen: &Observed) -> String {
    let status = recorded(job, seen);
    let step = status.step.expect("a step");
    format!("{:?} {} {}/{}", status.phase.unwrap(), step.name, step.number, step.total)
}

/// The phase and the step that are recorded next.
fn check_steps(table: Vec<(&str, MapReduceJob, Observed, &str)>) {
    for (case, job, seen, expected) in table {
        assert_eq!(step_of(&job, &seen), expected, "{case}");
    }
}

#[test]
fn each_step_goes_through_the_phases() {
    check(vec![
        ("the first one's plan is recorded", chain("", 1), seen(), "record Planning"),
        ("then it is made", chain("Planning", 1), seen(), "create plan 1/1"),
        (
            "as in a job without steps",
            chain("Planning", 1),
            ended(Plan, Complete, planned(5)),
            "record Mapping",
        ),
        ("with its reduces", chain("Mapping", 1), ended(Map, Complete, PodReport::Unread), "record Reducing"),
        (
            "after which the next is planned",
            chain("Reducing", 1),
            ended(Reduce, Complete, PodReport::Unread),
            "record Planning",
        ),
        ("by a pod of its own", chain("Planning", 2), seen(), "create plan 1/1"),
        ("with its own settings", chain("Mapping", 2), seen(), "create map 2/5"),
        (
            "a map-only one has no reduces",
            chain("Mapping", 2),
            ended(Map, Complete, PodReport::Unread),
            "record Planning",
        ),
        (
            "the last one's maps",
            chain("Mapping", 3),
            ended(Map, Complete, PodReport::Unread),
            "record Reducing",
        ),
        ("and reduces", chain("Reducing", 3), seen(), "create reduce 1/2"),
        ("end the job", chain("Reducing", 3), ended(Reduce, Complete, finished()), "record Succeeded"),
        (
            "whether a pod is left to say so or not",
            chain("Reducing", 3),
            Observed { report: ChildState::Foreign, ..ended(Reduce, Complete, PodReport::Lost) },
            "record Succeeded",
        ),
        (
            "a step without tasks is done with its plan",
            chain("Planning", 2),
            ended(Plan, Complete, planned_behind(0, 1)),
            "record Planning",
        ),
        (
            "the last one's plan ends the job",
            chain("Planning", 3),
            ended(Plan, Complete, finished()),
            "record Succeeded",
        ),
        (
            "and so it does without words",
            chain("Planning", 3),
            ended(Plan, Complete, planned_behind(0, 1)),
            "record Succeeded",
        ),
        (
            "a plan whose pod is gone is said again",
            chain("Planning", 2),
            ended(Plan, Complete, PodReport::Lost),
            "create report 1/1",
        ),
    ]);
    check_steps(vec![
        ("from a new job", chain("", 1), seen(), "Planning count 1/3"),
        ("within a step", chain("Planning", 1), ended(Plan, Complete, planned(5)), "Mapping count 1/3"),
        (
            "after reduces",
            chain("Reducing", 1),
            ended(Reduce, Complete, PodReport::Unread),
            "Planning swap 2/3",
        ),
        ("after maps", chain("Mapping", 2), ended(Map, Complete, PodReport::Unread), "Planning sort 3/3"),
        ("after nothing to do", chain("Planning", 1), ended(Plan, Complete, planned(0)), "Planning swap 2/3"),
        ("at the end", chain("Reducing", 3), ended(Reduce, Complete, finished()), "Succeeded sort 3/3"),
    ]);
}

#[test]
fn a_recorded_step_beats_what_is_there() {
    check(vec![
        ("a Job that was removed is made again", chain("Mapping", 2), seen(), "create map 2/5"),
        ("a step that runs is left alone", chain("Planning", 2), with(Plan, run(1)), "rest"),
        (
            "somebody else's Job",
            chain("Mapping", 2),
            slot(Map, ChildState::Foreign),
            "record Failed NameTaken",
        ),
        (
            "a failure in a later step",
            chain("Reducing", 3),
            ended(Reduce, Failed("x".into()), failed(Reason::TaskFailed)),
            "record Failed TaskFailed",
        ),
        ("what failed is cleaned as a whole", chain("Failed", 2), seen(), "create cleanup 1/1"),
        ("what is deleted too", deleted(chain("Mapping", 2), 5), seen(), "create cleanup 1/1"),
        ("after its pods", deleted(chain("Mapping", 2), 5), with(Map, run(5)), "patch map deadline=1"),
        ("what has succeeded rests", released(chain("Succeeded", 3)), seen(), "rest"),
    ]);
    let mut suspended = chain("Reducing", 1);
    suspended.spec.suspend = true;
    let status = recorded(&suspended, &ended(Reduce, Complete, PodReport::Unread));
    assert_eq!(status.step.as_ref().unwrap().number, 2, "a step that has ended is recorded");
    suspended.status = Some(status);
    check(vec![("and the next not begun", suspended, seen(), "rest")]);
}

#[test]
fn jobs_are_named_after_the_step_s_number() {
    let names = |job: &MapReduceJob| [Plan, Map, Reduce, Child::Cleanup].map(|child| child.name_in(job));
    assert_eq!(names(&chain("Mapping", 2)), ["wc-2-plan", "wc-2-map", "wc-2-reduce", "wc-cleanup"]);
    assert_eq!(names(&chain("", 1)), ["wc-1-plan", "wc-1-map", "wc-1-reduce", "wc-cleanup"]);
    assert_eq!(names(&super::plain("Mapping")), ["wc-plan", "wc-map", "wc-reduce", "wc-cleanup"]);
    // A pod's name ends in a task's number and five letters.
    assert!(Child::Reduce.name(&"n".repeat(46), Some(32)).len() <= 63 - "-99999".len());
}

#[test]
fn what_each_step_has_done_is_recorded_with_the_plan_of_the_next() {
    let mut job = chain("Planning", 1);
    let mut told = Vec::new();
    for (at, seen) in [
        (1, ended(Plan, Complete, planned(5))),
        (2, ended(Plan, Complete, planned_behind(5, 1))),
        (3, ended(Plan, Complete, planned_behind(5, 2))),
        (3, ended(Reduce, Complete, finished())),
    ] {
        let before = job.status.take().unwrap();
        job.status = chain(if told.len() < 3 { "Planning" } else { "Reducing" }, at).status;
        let status = job.status.as_mut().unwrap();
        status.steps = before.steps;
        status.input = before.input;
        let status = recorded(&job, &seen);
        let done =
            status.steps.iter().map(|step| format!("{}={}", step.name, step.counters.map_input_records));
        told.push(done.collect::<Vec<_>>().join(" "));
        assert_eq!(
            status.input.as_ref().map(|input| input.objects),
            Some(0),
            "the input is the first step's"
        );
        if at == 2 {
            let message = &condition(&status, PLANNED).unwrap().message;
            assert!(
                message.starts_with("step swap: 5 map tasks") && message.ends_with("in 4 objects"),
                "{message}"
            );
        }
        job.status = Some(status);
    }
    assert_eq!(told, ["", "count=1", "count=1 swap=2", "count=1 swap=2 sort=3"]);
}

#[test]
fn each_step_is_told_of_once() {
    let old = chain("Reducing", 1);
    let new = recorded(&old, &ended(Reduce, Complete, PodReport::Unread));
    let notes: Vec<_> =
        of_change(old.status.as_ref().unwrap(), &new).into_iter().map(|notice| notice.note).collect();
    assert_eq!(notes, ["step swap: dividing what the step before has written"]);
    assert_eq!(of_change(&new, &new), []);
    let empty = recorded(&chain("Planning", 2), &ended(Plan, Complete, planned_behind(0, 1)));
    let notices = of_change(chain("Planning", 2).status.as_ref().unwrap(), &empty);
    assert!(notices.iter().any(|notice| notice.note.starts_with("step sort: dividing")), "{notices:?}");
}
