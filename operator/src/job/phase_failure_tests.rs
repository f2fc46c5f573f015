//! A job that fails says why, and ends its pods before it removes its data.

use super::*;

#[test]
fn a_failed_job_says_why() {
    use Child::{Map, Plan, Reduce};
    use JobState::{Complete, Failed, Failing};
    let refused = |permanent| Some(Refusal { child: Map, permanent, message: "no".into() });
    check(vec![
        (
            "a plan",
            plain("Planning"),
            ended(Plan, Failed("x".into()), failed(Reason::PlanFailed)),
            "record Failed PlanFailed",
        ),
        (
            "a map",
            plain("Mapping"),
            ended(Map, Failed("x".into()), failed(Reason::OutOfMemory)),
            "record Failed OutOfMemory",
        ),
        (
            "before its last pod has ended",
            plain("Reducing"),
            ended(Reduce, Failing("x".into()), failed(Reason::TaskFailed)),
            "record Failed TaskFailed",
        ),
        (
            "a plan too large for a Job",
            plain("Planning"),
            ended(Plan, Complete, planned(100_001)),
            "record Failed PlanFailed",
        ),
        (
            "a plan that can't be read, nor said again",
            plain("Planning"),
            Observed { report: ChildState::Foreign, ..ended(Plan, Complete, PodReport::Unclear("?".into())) },
            "record Failed PlanFailed",
        ),
        ("somebody else's Job", plain("Mapping"), slot(Map, ChildState::Foreign), "record Failed NameTaken"),
        ("an earlier job's Job is waited for", plain("Mapping"), slot(Map, ChildState::Leftover), "rest 1 s"),
        (
            "a template that is none",
            job("", &json!({"map": {"template": {"spec": 3}}})),
            seen(),
            "record Failed InvalidSpec",
        ),
        (
            "one that became none later: the run's revision is made already",
            job("Mapping", &json!({"map": {"template": {"spec": 3}}})),
            seen(),
            "create map 5/5",
        ),
        (
            "a Job that is refused for good",
            plain("Mapping"),
            Observed { refused: refused(Some(Reason::InvalidSpec)), ..seen() },
            "record Failed InvalidSpec",
        ),
        (
            "a Job that is refused for now",
            plain("Mapping"),
            Observed { refused: refused(None), ..seen() },
            "record Mapping CreateRefused",
        ),
    ]);
}

#[test]
fn a_failed_job_ends_its_pods_before_it_removes_its_data() {
    use Child::{Cleanup, Map, Reduce};
    use JobState::{Complete, Failed, Failing};
    let on_success = json!({"cleanup": "OnSuccess"});
    let made_at = |second| ChildJob { created: Some(Time(at(second))), ..run(1) };
    let with_a_plan = || {
        let mut job = plain("Failed");
        let planned = planned(5);
        let PodReport::Planned(plan) = &planned else { unreachable!() };
        job.status = Some(Draft::of(&job, at(1)).planned(plan).done());
        job
    };
    let told_so = |why: &str| {
        let mut job = with_a_plan();
        job.status = Some(Draft::of(&job, at(9)).cleanup_failed(why).done());
        job
    };
    check(vec![
        ("pods that run are ended", plain("Failed"), with(Map, run(5)), "patch map deadline=1"),
        ("once", plain("Failed"), with(Map, ChildJob { deadline: Some(1), ..run(5) }), "rest 120 s"),
        (
            "also of a job that isn't held",
            released(plain("Failed")),
            with(Map, run(5)),
            "patch map deadline=1",
        ),
        (
            "a suspended Job could be resumed by others",
            plain("Failed"),
            with(Map, ChildJob { suspended: true, ..run(5) }),
            "delete map",
        ),
        (
            "pods that end are waited for",
            plain("Failed"),
            ended(Map, Failing("x".into()), PodReport::Unread),
            "rest 120 s",
        ),
        (
            "then the data is removed",
            plain("Failed"),
            ended(Map, Failed("x".into()), PodReport::Unread),
            "create cleanup 1/1",
        ),
        (
            "for as long as it takes",
            plain("Failed"),
            with(Cleanup, ChildJob { active: 1, ready: 1, ..run(1) }),
            "rest",
        ),
        ("unless its pod can't start", with_a_plan(), with(Cleanup, made_at(1)), "rest 111 s"),
        ("then that is told", with_a_plan(), with(Cleanup, made_at(-110)), "record Failed"),
        (
            "without a plan there is hardly anything",
            plain("Failed"),
            with(Cleanup, made_at(-110)),
            "release: intermediate data may be left: the cleanup's pod could not start",
        ),
        (
            "also where it failed",
            plain("Failed"),
            ended(Cleanup, Failed("x".into()), PodReport::Unread),
            "release: intermediate data may be left: the cleanup Job failed: x",
        ),
        (
            "and it is made anew",
            told_so("its pod could not start"),
            with(Cleanup, made_at(-110)),
            "delete cleanup",
        ),
        (
            "not before it is gone",
            told_so("its pod could not start"),
            with(Cleanup, ChildJob { deleting: true, ..made_at(-110) }),
            "rest 5 s",
        ),
        (
            "or the job's time is over",
            {
                let mut job = told_so("its pod could not start");
                job.spec.ttl_seconds_after_finished = Some(1);
                job
            },
            with(Cleanup, made_at(-110)),
            "delete the job",
        ),
        ("then the job is let go", plain("Failed"), ended(Cleanup, Complete, PodReport::Unread), "release"),
        (
            "one that failed is made anew too",
            told_so("x"),
            ended(Cleanup, Failed("x".into()), PodReport::Unread),
            "delete cleanup",
        ),
        ("OnSuccess keeps it for a look", job("Failed", &on_success), seen(), "rest"),
        (
            "and ends pods none the less",
            job("Failed", &on_success),
            with(Reduce, run(2)),
            "patch reduce deadline=1",
        ),
    ]);
}
