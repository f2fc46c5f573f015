//! What others do to a job's children, and what the cluster does to its pods.

use super::*;
use crate::creations::Creation;
use crate::job::observed::LostPod;
use crate::job::status::RETRYING;

fn created(child: Child, made: u32, refused: u32, second: i64) -> Observed {
    Observed { creations: vec![(child, Creation { made, refused, last: at(second) })], ..seen() }
}

fn stuck(others_run: bool) -> Starting {
    let stuck = Some(Stuck { reason: "Unschedulable".into(), message: "no node".into() });
    Starting::Waiting(Waiting {
        since: at(2),
        stuck,
        again: Duration::from_secs(15),
        others_run,
        none_started: true,
    })
}

#[test]
fn a_job_that_somebody_deletes_is_made_again_more_seldom_each_time_and_not_for_ever() {
    use Child::Map;
    check(vec![
        ("at once after a second", plain("Mapping"), created(Map, 1, 0, 9), "create map 5/5"),
        ("then later", plain("Mapping"), created(Map, 4, 0, 9), "rest 7 s"),
        ("a refused one too", plain("Mapping"), created(Map, 0, 3, 9), "rest 3 s"),
        ("up to a limit", plain("Mapping"), created(Map, 13, 0, -999), "record Failed ChildLost"),
        ("refusals have none", plain("Mapping"), created(Map, 0, 99, -999), "create map 5/5"),
        (
            "nor is data removed without a pause",
            plain("Failed"),
            created(Child::Cleanup, 3, 0, 9),
            "rest 3 s",
        ),
    ]);
}

#[test]
fn a_job_without_our_labels_gets_them_back() {
    let relabelled = ChildJob { labelled: false, ..run(5) };
    check(vec![("a map", plain("Mapping"), with(Child::Map, relabelled), "patch map labels=ours")]);
}

#[test]
fn what_an_earlier_job_of_the_name_has_left_is_removed() {
    let orphan = || ChildState::Orphan("old".into());
    check(vec![
        ("a Job of the phase", plain("Mapping"), slot(Child::Map, orphan()), "delete orphan map old"),
        ("a cleanup", plain("Failed"), slot(Child::Cleanup, orphan()), "delete orphan cleanup old"),
    ]);
}

#[test]
fn pods_on_a_lost_node_are_removed_whatever_the_job_is_at() {
    let lost = || vec![LostPod { name: "p-1".into(), uid: "1".into(), node: "n".into() }];
    for job in [plain("Mapping"), plain("Failed"), deleted(plain("Mapping"), 5)] {
        let seen = Observed { lost_pods: lost(), ..with(Child::Map, ChildJob { terminating: 1, ..run(5) }) };
        assert_eq!(told(&after(&job, &seen)), "remove p-1");
    }
}

#[test]
fn pods_that_wait_while_others_run_are_told_and_end_nothing() {
    let job = job("Mapping", &json!({"pendingDeadlineSeconds": 3}));
    let seen = Observed { starting: stuck(true), ..with(Child::Map, ChildJob { ready: 1, ..run(5) }) };
    let status = recorded(&job, &seen);
    let progressing = condition(&status, PROGRESSING).unwrap();
    assert_eq!((progressing.status.as_str(), progressing.reason.as_str()), ("True", "Unschedulable"));
    let alone = Observed { starting: stuck(false), ..seen };
    assert_eq!(told(&after(&job, &alone)), "record Failed PendingDeadlineExceeded");
}

#[test]
fn a_phase_that_has_got_somewhere_has_waited_since_it_was_stuck() {
    let mut job = job("Mapping", &json!({"pendingDeadlineSeconds": 5}));
    let progress = ChildJob { succeeded: 2, ..run(5) };
    let seen = Observed { starting: stuck(false), ..with(Child::Map, progress) };
    job.status = Some(recorded(&job, &seen));
    assert_eq!(told(&after(&job, &seen)), "rest 5 s");
    let later = Observed { now: at(15), ..seen };
    assert_eq!(told(&after(&job, &later)), "record Failed PendingDeadlineExceeded");
}

#[test]
fn creations_that_are_refused_all_through_the_pending_deadline_fail_the_job() {
    let mut job = job("Mapping", &json!({"pendingDeadlineSeconds": 5}));
    let refused = Some(Refusal { child: Child::Map, permanent: None, message: "quota".into() });
    let seen = Observed { refused, ..seen() };
    job.status = Some(recorded(&job, &seen));
    assert_eq!(told(&after(&job, &seen)), "rest 15 s");
    let failed = recorded(&job, &Observed { now: at(15), ..seen });
    assert_eq!(failed.reason.as_deref(), Some("PendingDeadlineExceeded"));
}

#[test]
fn the_error_of_the_last_attempt_is_told_while_there_is_another_one() {
    let job = plain("Mapping");
    let run = ChildJob { failed: 1, active: 1, ready: 1, ..run(5) };
    let seen = Observed { last_failure: Some("ValueError: nope".into()), ..with(Child::Map, run.clone()) };
    let status = recorded(&job, &seen);
    assert_eq!(status.reason.as_deref(), Some(RETRYING));
    let notices = crate::job::events::of_change(&job.status.clone().unwrap(), &status);
    assert!(notices.iter().any(|n| n.warning && n.note == "ValueError: nope"), "{notices:?}");
    // It stays to be read while other tasks go on.
    let noted = MapReduceJob { status: Some(status), ..job };
    let goes_on = Observed { starting: Starting::All, ..with(Child::Map, run) };
    assert_eq!(told(&after(&noted, &goes_on)), "rest");
}

#[test]
fn counts_of_a_job_that_was_made_again_do_not_go_backwards() {
    let mut job = plain("Mapping");
    let seen = with(Child::Map, ChildJob { succeeded: 3, failed: 2, ..run(5) });
    job.status = Some(recorded(&job, &seen));
    let maps = |status: MapReduceJobStatus| status.maps.map(|maps| (maps.succeeded, maps.failed));
    let again = with(Child::Map, ChildJob { succeeded: 1, active: 1, ..run(5) });
    assert_eq!(maps(recorded(&job, &again)), Some((3, 2)));
}

#[test]
fn a_new_default_of_the_operator_ends_no_pods_that_run() {
    let asks = job("Mapping", &json!({"map": {"parallelism": 2}}));
    let many = || with(Child::Map, ChildJob { parallelism: 200, completions: 500, ..run(5) });
    check(vec![
        ("made with an earlier default", plain("Mapping"), many(), "rest"),
        ("asked for", asks, many(), "patch map parallelism=2"),
    ]);
}
