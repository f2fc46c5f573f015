//! What is written into the status, and when.

use mapreduce_api::v1alpha1::{Condition, JobStep};
use mapreduce_api::wire::{Counters, StepCounters};

use super::*;
use crate::job::status::{FAILED, MAP_COMPLETE, PLANNED};

#[test]
fn a_status_is_written_only_when_it_says_something_new() {
    use Child::Map;
    let counted = with(Map, ChildJob { active: 3, ready: 3, succeeded: 1, failed: 2, ..run(5) });
    let mut job = plain("Mapping");
    let status = recorded(&job, &counted);
    let maps = status.maps.clone().unwrap();
    assert_eq!((maps.active, maps.succeeded, maps.failed, maps.progress.as_str()), (3, 1, 2, "1/5"));
    job.status = Some(status);
    for second in [10, 11, 500] {
        let later = Observed { now: at(second), ..counted.clone() };
        assert_eq!(told(&after(&job, &later)), "rest", "{second} s");
    }
}

#[test]
fn the_plan_is_recorded_with_the_phase_that_follows_it() {
    let plan = PodReport::Planned(PlanSummary {
        map_tasks: 40,
        reduce_tasks: 8,
        partitions: 8,
        input_objects: 12,
        input_bytes: 999,
        before: None,
    });
    let status = recorded(&plain("Planning"), &ended(Child::Plan, JobState::Complete, plan));
    assert_eq!((status.maps.unwrap().total, status.reduces.unwrap().total), (40, 8));
    let input = status.input.unwrap();
    assert_eq!((input.objects, input.bytes), (12, 999));
}

#[test]
fn success_tells_what_was_written() {
    let mut summary = JobSummary { committed: true, parts: 2, records: 5, ..JobSummary::default() };
    summary.counters.output_bytes = 70;
    let words = PodReport::Finished(Box::new(summary));
    let status = recorded(&plain("Reducing"), &ended(Child::Reduce, JobState::Complete, words.clone()));
    let output = status.output.clone().unwrap();
    assert_eq!(
        (output.url.as_str(), output.objects, output.bytes, output.records),
        ("s3://b/out/", 2, 70, 5)
    );
    assert!(is_true(&status, COMPLETE));
    assert_eq!(status.reduces.unwrap().progress, "2/2");
    let status = recorded(&map_only(plain("Mapping")), &ended(Child::Map, JobState::Complete, words));
    assert_eq!(status.output.unwrap().records, 5);
}

#[test]
fn time_spent_suspended_is_not_active() {
    let with_spec = |status: &MapReduceJobStatus, suspend: bool| {
        let mut job = job("Mapping", &json!({"suspend": suspend}));
        job.status = Some(status.clone());
        job
    };
    let when = |second| Observed { now: at(second), ..with(Child::Map, run(5)) };
    let start = plain("Mapping").status.unwrap();
    assert_eq!(active_for(&start, at(10)).as_secs(), 10);
    let suspended = recorded(&with_spec(&start, true), &when(10));
    assert_eq!(active_for(&suspended, at(100)).as_secs(), 10);
    let resumed = recorded(&with_spec(&suspended, false), &when(100));
    assert!(!is_true(&resumed, SUSPENDED));
    assert_eq!(active_for(&resumed, at(104)).as_secs(), 14);
    let again = recorded(&with_spec(&resumed, true), &when(110));
    assert_eq!(active_for(&again, at(999)).as_secs(), 20);
}

#[test]
fn time_in_a_queue_is_not_active_and_no_deadline_runs_in_it() {
    let with_status = |status: &MapReduceJobStatus| {
        let mut job = job("Mapping", &json!({"activeDeadlineSeconds": 15}));
        job.status = Some(status.clone());
        job
    };
    let when = |second, suspended| {
        let run = ChildJob { queued: true, suspended, ..run(5) };
        Observed { now: at(second), ..with(Child::Map, run) }
    };
    let start = plain("Mapping").status.unwrap();
    let queued = recorded(&with_status(&start), &when(10, true));
    let told = condition(&queued, SUSPENDED).unwrap();
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("True", "Queued"));
    assert!(told.message.contains("Job wc-map"), "{}", told.message);
    assert_eq!(active_for(&queued, at(100)).as_secs(), 10);
    assert_eq!(super::told(&after(&with_status(&queued), &when(100, true))), "rest", "no deadline runs");
    let admitted = recorded(&with_status(&queued), &when(200, false));
    assert!(!is_true(&admitted, SUSPENDED));
    assert_eq!(active_for(&admitted, at(204)).as_secs(), 14);
    let over = after(&with_status(&admitted), &when(205, false));
    assert_eq!(super::told(&over), "record Failed DeadlineExceeded");
}

#[test]
fn a_condition_keeps_the_time_since_which_it_holds() {
    let stuck = |second, message: &str| {
        let stuck = Stuck { reason: "Unschedulable".into(), message: message.into() };
        let starting = Starting::Waiting(Waiting {
            since: at(1),
            stuck: Some(stuck),
            again: Duration::from_secs(15),
            others_run: false,
            none_started: true,
        });
        Observed { now: at(second), starting, ..with(Child::Map, run(5)) }
    };
    let mut job = plain("Mapping");
    job.status = Some(recorded(&job, &stuck(20, "0/3 nodes")));
    let status = recorded(&job, &stuck(40, "0/4 nodes"));
    let condition = condition(&status, PROGRESSING).unwrap();
    assert_eq!((condition.message.as_str(), condition.last_transition_time.0), ("0/4 nodes", at(20)));
}

#[test]
fn a_job_that_its_planner_ran_whole_has_planned_and_done_its_tasks() {
    let plan = PlanSummary {
        map_tasks: 1,
        reduce_tasks: 2,
        input_objects: 3,
        input_bytes: 9,
        ..PlanSummary::default()
    };
    let summary = JobSummary { committed: true, parts: 2, plan: Some(plan), ..JobSummary::default() };
    let whole = ended(Child::Plan, JobState::Complete, PodReport::Finished(Box::new(summary)));
    let status = recorded(&plain("Planning"), &whole);
    assert_eq!(status.phase, Some(mapreduce_api::v1alpha1::JobPhase::Succeeded));
    assert_eq!(status.input.unwrap().objects, 3);
    let progress = |counts: Option<mapreduce_api::v1alpha1::PhaseCounts>| counts.unwrap().progress;
    assert_eq!((progress(status.maps), progress(status.reduces)), ("1/1".to_owned(), "2/2".to_owned()));
    assert!(
        condition(&MapReduceJobStatus { conditions: status.conditions, ..Default::default() }, "Planned")
            .unwrap()
            .message
            .starts_with("1 map tasks")
    );
}

#[test]
fn a_phase_says_how_long_it_took_how_many_pods_the_cluster_ended_and_how_much_of_all_is_done() {
    let time = |second| Some(Time(at(second)));
    let counted = ChildJob { succeeded: 3, start_time: time(2), ..run(5) };
    let seen = Observed { disrupted: 2, ..with(Child::Map, counted) };
    let status = recorded(&plain("Mapping"), &seen);
    let maps = status.maps.clone().unwrap();
    // Three of seven.
    assert_eq!((maps.disrupted, maps.failed, maps.seconds, status.percent), (2, 0, None, Some(42)));
    assert!(condition(&status, MAP_COMPLETE).is_none());
    let mut mapping = plain("Mapping");
    mapping.status = Some(status);
    let complete =
        ChildJob { state: JobState::Complete, start_time: time(2), completion_time: time(9), ..run(5) };
    let status = recorded(&mapping, &with(Child::Map, complete));
    let maps = status.maps.clone().unwrap();
    assert_eq!((maps.disrupted, maps.seconds, status.percent), (2, Some(7), Some(71)));
    let told = condition(&status, MAP_COMPLETE).unwrap();
    let told = (told.status.as_str(), told.reason.as_str(), told.message.as_str(), told.observed_generation);
    assert_eq!(told, ("True", "MapTasksDone", "5 map tasks are done", Some(1)));
    let mut reducing = plain("Reducing");
    reducing.status = Some(status);
    let summary = JobSummary { committed: true, skew_percent: Some(250), ..JobSummary::default() };
    let end = ended(Child::Reduce, JobState::Complete, PodReport::Finished(Box::new(summary)));
    let status = recorded(&reducing, &end);
    assert_eq!((status.percent, status.skew_percent), (Some(100), Some(250)));
}

/// A job of 32 steps with 10,000 tasks each, at the last one's reduce phase.
fn long_chain() -> MapReduceJob {
    let step =
        |n: usize| json!({"name": format!("{n:040}"), "reduce": {"function": {"builtin": {"name": "sum"}}}});
    let steps: Vec<_> = (1..=32).map(step).collect();
    let mut job = job("Reducing", &json!({"steps": steps}));
    job.spec.reduce = None;
    let status = job.status.as_mut().unwrap();
    let name = |n: usize| job.spec.steps[n - 1].name.clone();
    status.step = Some(JobStep { name: name(32), number: 32, total: 32 });
    status.steps = (1..=31).map(|n| StepCounters { name: name(n), counters: large_counters() }).collect();
    for counts in status.maps.iter_mut().chain(&mut status.reduces) {
        counts.total = 10_000;
        counts.start_time = Some(Time(at(1)));
    }
    for kind in [PLANNED, MAP_COMPLETE, SUSPENDED, PROGRESSING] {
        status.conditions.push(Condition {
            kind: kind.into(),
            status: "True".into(),
            reason: "Retrying".into(),
            message: "x".repeat(if kind == PROGRESSING { 4096 } else { 200 }),
            last_transition_time: Time(at(1)),
            observed_generation: Some(1),
        });
    }
    job
}

fn large_counters() -> Counters {
    let all = serde_json::to_value(Counters::default()).unwrap();
    let large = all.as_object().unwrap().iter().map(|(name, value)| {
        (name.clone(), if value.is_object() { value.clone() } else { json!(1_000_000_000_000_000_u64) })
    });
    serde_json::from_value(large.collect()).unwrap()
}

#[test]
fn a_status_stays_below_8_kib_whatever_the_job_was() {
    let size = |status: &MapReduceJobStatus| serde_json::to_vec(status).unwrap().len();
    let job = long_chain();
    assert!(size(job.status.as_ref().unwrap()) > 8 << 10, "there is something to leave out");
    let traceback = Failure { reason: Reason::TaskFailed, message: "y".repeat(4096), attempts: 4 };
    let status =
        recorded(&job, &ended(Child::Reduce, JobState::Failed("x".into()), PodReport::Failed(traceback)));
    assert!(size(&status) <= 8 << 10, "{}", size(&status));
    assert_eq!(condition(&status, FAILED).unwrap().message.len(), 4096);

    let mut job = long_chain();
    job.status.as_mut().unwrap().conditions.pop();
    let mut counters = large_counters();
    for n in 0..90 {
        counters.count(&format!("group {n:030}"), "n", i64::MAX);
    }
    let last_step = Some(large_counters());
    let summary = JobSummary { committed: true, counters, last_step, ..JobSummary::default() };
    let end = ended(Child::Reduce, JobState::Complete, PodReport::Finished(Box::new(summary)));
    let status = recorded(&job, &end);
    assert!(size(&status) <= 8 << 10, "{}", size(&status));
    assert_eq!(status.steps.last().unwrap().name, job.spec.steps[31].name, "the last ones stay");
    assert_eq!(status.counters.unwrap().map_input_records, 1_000_000_000_000_000);
}
