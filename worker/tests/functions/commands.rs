//! The streaming contract, and commands that do not keep to it.

use std::time::Instant;

use mapreduce_worker::error::{ErrorKind, Result};
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::task::finish::Success;
use serde_json::{Value, json};

use crate::common::{Place, builtin};

fn place(text: impl AsRef<[u8]>) -> Place {
    let place = Place::new();
    place.write("in/a", text);
    place
}

fn map(command: Value) -> Value {
    json!({"map": {"function": {"command": command}}, "retries": 0, "output": {"format": {"type": "KeyValue"}}})
}

fn shell(text: &str) -> Value {
    map(json!({"shell": text}))
}

fn run(text: impl AsRef<[u8]>, fields: Value) -> (Place, Result<Success>) {
    let place = place(text);
    let done = place.run(fields);
    (place, done)
}

/// What a map-only job with this command writes.
fn written(text: impl AsRef<[u8]>, fields: Value) -> String {
    let (place, done) = run(text, fields);
    done.unwrap();
    place.output_text()
}

fn failure(text: impl AsRef<[u8]>, fields: Value) -> (String, String, ErrorKind) {
    let (place, done) = run(text, fields);
    let error = done.unwrap_err();
    assert!(place.names("out").is_empty() && place.names("scratch").is_empty(), "something is left");
    (error.to_string(), error.causes().join("\n"), error.kind())
}

#[test]
fn a_record_is_its_line_and_a_line_is_key_tab_value() {
    assert_eq!(written("a\tb\tc\nd\n\ne", shell("cat")), "a\tb\tc\nd\t\n\t\ne\t\n");
}

#[test]
fn a_carriage_return_goes_where_a_record_has_none() {
    assert_eq!(written("a\r\nb\rc\nd\r", shell("tr '\\r' R")), "a\t\nbRc\t\ndR\t\n");
}

#[test]
fn the_key_of_a_record_is_not_written() {
    let mut fields = shell("cat");
    fields["input"] = json!({"format": {"type": "KeyValue", "keyValue": {"separator": ","}}});
    assert_eq!(written("k,v\nw\n", fields), "v\t\n\t\n");
}

#[test]
fn output_without_a_final_newline_is_whole() {
    assert_eq!(written("x\n", shell("cat > /dev/null; printf 'a\\t1\\nb\\t2'")), "a\t1\nb\t2\n");
}

#[test]
fn argv_is_no_shells_line_and_files_are_programs_beside_it() {
    let fields = map(json!({
        "argv": ["mine.sh", "$HOME", "a b"],
        "files": {"mine.sh": "#!/bin/sh\ncat data.txt; for word; do echo \"$word\"; done\n", "data.txt": "data\n"},
    }));
    assert_eq!(written("x\n", fields), "data\t\n$HOME\t\na b\t\n");
}

#[test]
fn a_command_runs_once_for_each_object_and_is_told_which() {
    let place = place("1\n2\n");
    place.write("in/b", "3\n");
    let mut fields = shell(
        r#"echo "${mapreduce_map_input_file##*/} $mapreduce_map_input_start $mapreduce_map_input_length $(wc -l)""#,
    );
    fields["reduce"] = json!({"tasks": 0});
    place.run(fields).unwrap();
    assert_eq!(place.output_text(), "a 0 4 2\t\nb 0 2 1\t\n");
}

#[test]
fn the_environment_says_which_job_and_task_it_is() {
    let names = ["job_id", "job_name", "task_id", "task_attempt_id", "task_partition", "task_is_map"];
    let echo: String = names.map(|name| format!("echo {name} $mapreduce_{name};")).concat();
    assert_eq!(
        written("x\n", shell(&echo)),
        "job_id run-1\t\njob_name test\t\ntask_id map-00000\t\ntask_attempt_id map-00000-0\t\n\
         task_partition 0\t\ntask_is_map true\t\n"
    );
    let place = place("x\n");
    let reduce = json!({"function": {"command": {"shell": echo}}, "tasks": 2});
    place.run(json!({"reduce": reduce})).unwrap();
    let second = String::from_utf8(place.read("out/part-00001")).unwrap();
    assert!(second.contains("task_id reduce-00001\t") && second.contains("is_map false\t"), "{second}");
}

#[test]
fn the_environment_is_a_list_of_what_is_allowed() {
    let mut fields = map(json!({"argv": ["env"], "env": {"MINE": "1", "LANG": "xx"}}));
    fields["output"] = json!({"format": {"type": "KeyValue", "keyValue": {"separator": "|"}}});
    let found = written("x\n", fields);
    let names: Vec<_> = found.lines().map(|line| line.split_once('=').unwrap().0).collect();
    let allowed = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "MINE", "PWD", "OLDPWD", "SHLVL", "_"];
    let strange: Vec<_> =
        names.iter().filter(|name| !allowed.contains(name) && !name.starts_with("mapreduce_")).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something to leak");
    assert!(found.contains("MINE=1|") && found.contains("LANG=xx|"), "{found}");
}

#[cfg(target_os = "linux")]
#[test]
fn our_own_environment_is_hidden_from_processes_of_the_same_user() {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    assert_eq!(written("x\n", shell("cat")), "x\t\n");
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}

#[test]
fn a_command_that_stops_reading_is_no_failure() {
    let text = "0123456789\n".repeat(200_000);
    assert_eq!(written(&text, shell("head -n 1")), "0123456789\t\n");
    assert_eq!(written(&text, shell("exec 0<&-; sleep 0.2; echo done")), "done\t\n");
    assert_eq!(written(&text, shell("true")), "");
}

#[test]
fn floods_of_output_while_there_is_input_to_write_stop_nobody() {
    let text = "0123456789\n".repeat(200_000);
    let flood = "head -c 600000 /dev/zero | tr '\\0' . >&2; cat";
    assert_eq!(written(&text, shell(flood)).len(), text.len() + 200_000);
    let flood = "yes 0123456789 | head -n 300000; cat";
    assert_eq!(written(&text, shell(flood)).lines().count(), 500_000);
}

#[test]
fn a_line_longer_than_any_buffer_comes_back_whole() {
    let line = "x".repeat(3 << 20);
    assert_eq!(written(format!("{line}\n"), shell("cat")), format!("{line}\t\n"));
}

#[test]
fn an_exit_code_fails_the_task_with_the_last_words() {
    let (message, causes, kind) =
        failure("x\n", shell("seq 5000 >&2; echo reporter:status:fine >&2; echo why >&2; exit 7"));
    assert_eq!(kind, ErrorKind::Retry);
    assert!(
        message.starts_with("the map command `seq 5000") && message.ends_with("exited with code 7"),
        "{message}"
    );
    assert!(causes.ends_with("5000\nwhy") && causes.len() <= 4096, "{causes}");
}

#[test]
fn a_command_that_fails_at_once_is_not_taken_for_one_that_has_read_enough() {
    let (message, ..) = failure("0123456789\n".repeat(500_000), shell("exit 5"));
    assert!(message.ends_with("exited with code 5"), "{message}");
}

#[test]
fn a_command_that_ends_with_0_before_it_has_read_all_is_done() {
    let text = "0123456789\n".repeat(500_000);
    assert_eq!(written(&text, shell("exit 0")), "");
    assert_eq!(written(&text, shell("exec <&-; echo done")), "done\t\n");
    assert_eq!(written(&text, shell("head -n 2")), "0123456789\t\n".repeat(2));
}

#[test]
fn a_failure_after_all_output_is_a_failure() {
    for (ending, says) in
        [("kill -TERM $$", "signal 15 (SIGTERM)"), ("exit 1", "code 1"), ("kill -PIPE $$", "SIGPIPE")]
    {
        let (message, ..) = failure("x\n", shell(&format!("cat; {ending}")));
        assert!(message.contains(says), "{message}");
        let reduce = json!({"function": {"command": {"shell": format!("cat; {ending}")}}, "tasks": 1});
        let (message, ..) = failure("x\n", json!({"reduce": reduce, "retries": 0}));
        assert!(message.contains(says), "{message}");
    }
}

#[test]
fn any_bytes_come_back_as_they_were_written() {
    let place = place("x\n");
    place.run(shell(r"cat > /dev/null; printf 'a\000b\t\000\377\n\r\t\r\nnone'")).unwrap();
    assert_eq!(place.output(), b"a\0b\t\0\xff\n\r\t\r\nnone\t\n");
}

#[test]
fn what_is_started_in_the_background_is_heard_to_its_end() {
    let late = "(sleep 0.3; echo late) & cat";
    assert_eq!(written("x\n", shell(late)), "x\t\nlate\t\n");
    // Nor is it waited for where it can say nothing.
    assert_eq!(written("x\n", shell("sleep 1000 > /dev/null 2>&1 & cat")), "x\t\n");
    let mut fields = shell("sleep 1000 & cat");
    fields["taskTimeoutSeconds"] = json!(1);
    let (message, causes, kind) = failure("x\n", fields);
    assert!(
        message.ends_with("made no progress for 1 s and was killed") && kind == ErrorKind::Retry,
        "{message}"
    );
    assert!(
        causes.contains("something that it started in the background keeps its standard output open"),
        "{causes}"
    );
}

#[test]
fn what_is_reported_without_a_newline_counts_at_the_end() {
    let place = place("x\n");
    let done = place.run(shell("cat; printf 'reporter:counter:a,b,' >&2; sleep 0.1; printf 7 >&2")).unwrap();
    assert_eq!(serde_json::to_value(done.counters.user).unwrap(), json!({"a": {"b": 7}}));
}

#[test]
fn a_signal_is_named() {
    let (message, causes, _) = failure("x\n", shell("kill -9 $$"));
    assert!(message.ends_with("was killed by signal 9 (SIGKILL)"), "{message}");
    assert!(causes.contains("memory") && causes.contains("raise map.resources.limits.memory"), "{causes}");
    let reduce = json!({"function": {"command": {"shell": "kill -9 $$"}}, "tasks": 1});
    let (_, done) = run("x\n", json!({"reduce": reduce, "retries": 1}));
    let error = done.unwrap_err();
    assert_eq!(error.whereabouts().as_deref(), Some("task reduce-00000, attempt 2"));
    assert!(error.causes_text().contains("raise reduce.resources.limits.memory"), "{:?}", error.causes());
}

#[test]
fn an_exit_code_that_says_that_no_attempt_can_do_better_is_final() {
    for (code, name, kind) in [
        (65, "EX_DATAERR", ErrorKind::Permanent),
        (78, "EX_CONFIG", ErrorKind::Permanent),
        (75, "", ErrorKind::Retry),
    ] {
        let place = place("x\n");
        let tries = place.path("tries").display().to_string();
        let mut fields = shell(&format!("echo x >> {tries}; exit {code}"));
        fields["retries"] = json!(2);
        let error = place.run(fields).unwrap_err();
        assert_eq!(error.kind(), kind, "{code}: {error}");
        assert!(error.causes_text().contains(name), "{code}: {:?}", error.causes());
        let attempts = if kind == ErrorKind::Permanent { 1 } else { 3 };
        assert_eq!(place.read("tries").len(), 2 * attempts, "{code}");
    }
}

#[test]
fn a_program_that_is_not_there_is_an_error_that_no_attempt_mends() {
    let (message, causes, kind) = failure("x\n", map(json!({"argv": ["no-such-program"]})));
    assert_eq!(kind, ErrorKind::Permanent);
    assert!(message.contains("`no-such-program`") && causes.contains("image"), "{message}\n{causes}");
}

#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let place = place("x\n");
    let pid = place.path("pid");
    let mut fields = shell(&format!("sleep 1000 & echo $! > {}; echo waiting >&2; wait", pid.display()));
    fields["taskTimeoutSeconds"] = json!(1);
    let started = Instant::now();
    let error = place.run(fields).unwrap_err();
    assert!(started.elapsed().as_secs() < 100, "it was waited for");
    assert!(error.to_string().ends_with("made no progress for 1 s and was killed"), "{error}");
    assert!(error.causes().concat().contains("waiting"), "{:?}", error.causes());
    assert_gone(&place, "pid");
}

#[test]
fn a_command_that_reports_is_alive() {
    let mut fields = shell("for i in 1 2 3 4 5; do sleep 0.4; echo reporter:status:$i >&2; done; cat");
    fields["taskTimeoutSeconds"] = json!(1);
    assert_eq!(written("x\n", fields), "x\t\n");
}

#[test]
fn a_job_that_is_cancelled_ends_its_commands() {
    let place = place("x\n");
    let pid = place.path("pid");
    let job =
        place.job(shell(&format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 1000", pid.display()))).unwrap();
    let cancel = job.run().cancel.clone();
    let error = std::thread::scope(|scope| {
        let ran = scope.spawn(|| local::run(&job, &place.resources, &RunProgress::default()));
        while !pid.exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        cancel.cancel();
        ran.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_gone(&place, "pid");
}

/// The process whose number is in a file has ended, or ends now: it was sent a signal.
fn assert_gone(place: &Place, name: &str) {
    let pid = String::from_utf8(place.read(name)).unwrap();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit(')').next().unwrap_or_default().trim_start().to_owned()
    };
    let is_gone = |state: &str| state.is_empty() || state.starts_with('Z');
    for _ in 0..1000 {
        if is_gone(&state()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{pid} is there: {}", state());
}

#[test]
fn a_reduce_command_runs_once_for_each_partition_even_an_empty_one() {
    let place = place("b 2\na 1\nb 1\n");
    let fields = json!({
        "input": {"format": {"type": "KeyValue", "keyValue": {"separator": " "}}},
        "reduce": {"function": {"command": {"shell": "cat; echo end"}}, "tasks": 3},
    });
    let done = place.run(fields).unwrap();
    let mut parts: Vec<_> =
        (0..3).map(|i| String::from_utf8(place.read(&format!("out/part-0000{i}"))).unwrap()).collect();
    assert!(parts.iter().all(|part| part.ends_with("end\t\n")), "{parts:?}");
    parts.sort_by_key(String::len);
    assert_eq!(parts[0], "end\t\n");
    assert_eq!(parts.concat().replace("end\t\n", "").len(), "a\t1\nb\t1\nb\t2\n".len());
    assert_eq!(done.counters.reduce_output_records, 6);
}

#[test]
fn what_a_line_can_not_hold_is_a_bad_record() {
    let mut fields = shell("cat");
    fields["input"] = json!({"format": {"type": "Lines", "lines": {"delimiter": "|"}}});
    let (place, done) = run("a|b\nc|d", fields);
    let error = done.unwrap_err();
    let record = error.report().record.unwrap();
    assert_eq!((error.kind(), record.offset), (ErrorKind::Permanent, 2));
    assert!(record.url.ends_with("/in/a"), "{}", record.url);
    drop(place);
    let reduced = |map: Value| {
        json!({
            "input": {"format": {"type": "Lines", "lines": {"delimiter": "|"}}},
            "map": {"function": {"builtin": map}},
            "reduce": {"function": {"command": {"shell": "cat"}}, "tasks": 1},
        })
    };
    let grep = json!({"name": "grep", "args": {"pattern": "(?s).+"}});
    for (map, text, what) in [
        (grep.clone(), "a\tb", "a key holds a TAB or a newline"),
        (grep, "a\nb", "a key holds a TAB or a newline"),
        (json!({"name": "identity"}), "a\nb", "a value holds a newline"),
    ] {
        let (message, _, kind) = failure(text, reduced(map));
        assert_eq!(kind, ErrorKind::Permanent);
        assert!(message.starts_with("bad record: ") && message.contains(what), "{message}");
    }
}

#[test]
fn a_combine_command_keeps_to_the_keys_it_was_given() {
    let combined = |shell: &str| {
        let mut fields = json!({"map": builtin("words"), "reduce": builtin("sum"), "retries": 0});
        fields["combine"] = json!({"function": {"command": {"shell": shell}}});
        run("b a c a\n", fields)
    };
    let (place, done) = combined("awk -F '\\t' '$1 != \"b\"'");
    done.unwrap();
    let mut lines: Vec<_> = place.output_text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["a\t2", "c\t1"], "a combiner may leave pairs out");
    for wrong in ["sort -r", "cat; echo 'a\t7'", "sed s/a/x/"] {
        let error = combined(wrong).1.unwrap_err();
        assert!(error.to_string().contains("has to emit the keys that it was given"), "{wrong}: {error}");
    }
}

#[test]
fn a_command_that_is_none_is_refused_before_anything_is_touched() {
    let place = place("x\n");
    for (function, message) in [
        (json!({"command": {}}), "exactly one of: argv, shell"),
        (json!({"command": {"argv": ["a"], "shell": "a"}}), "exactly one of: argv, shell"),
        (json!({"command": {"argv": [""]}}), "names no program"),
        (json!({"command": {"shell": "a", "files": {"../x": ""}}}), "`../x` is not a file name"),
        (json!({"command": {"shell": "a", "env": [{"value": "x"}]}}), "command.env"),
        (json!({"command": {"shell": "a"}, "builtin": {"name": "words"}}), "a function is exactly one of"),
        (json!({}), "a function is exactly one of"),
    ] {
        let error = place.job(json!({"map": {"function": function}})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().starts_with("spec.map.function: ") && error.to_string().contains(message),
            "{error}"
        );
    }
}
