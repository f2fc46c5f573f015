//! Two runs at one output prefix at once, and a program that writes there while a run is at work.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::server::{Fault, Request};
use super::{Moment, Place, TEXTS, assert_counts, code, names, said};

/// Parts that the two runs write: what is there tells whose it is.
const PARTS: [usize; 2] = [2, 5];

fn sum(parts: usize) -> Value {
    json!({"function": {"builtin": {"name": "sum"}}, "tasks": parts})
}

/// Runs two jobs at once, from the bucket to the bucket or from a folder to a folder.
fn two_at_once(place: &Place, in_folder: bool, if_exists: &str) -> [Output; 2] {
    let url = |name: &str| if in_folder { format!("file:{name}/") } else { format!("s3://b/{name}/") };
    if in_folder {
        std::fs::create_dir(place.path().join("in")).unwrap();
        for (i, text) in TEXTS.iter().enumerate() {
            std::fs::write(place.path().join(format!("in/{i}")), text).unwrap();
        }
    }
    let runs = PARTS.map(|parts| {
        let name = format!("job-{parts}.yaml");
        place.manifest(
            &name,
            &json!({
                "input": {"urls": [url("in")]}, "reduce": sum(parts),
                "output": {"url": url("out"), "ifExists": if_exists},
            }),
        );
        place.command(&name).spawn().unwrap()
    });
    runs.map(|run| run.wait_with_output().unwrap())
}

/// The names and the bytes of what is at the output prefix.
fn found(place: &Place, in_folder: bool) -> (Vec<String>, Vec<u8>) {
    let folder = place.path().join("out");
    let found: Vec<String> = if in_folder {
        names(&folder)
    } else {
        place.written().iter().map(|key| key.strip_prefix("out/").unwrap().to_owned()).collect()
    };
    let read = |name: &String| {
        if in_folder {
            std::fs::read(folder.join(name)).unwrap()
        } else {
            place.s3.get(format!("out/{name}")).unwrap()
        }
    };
    let parts = found.iter().filter(|name| name.starts_with("part-")).flat_map(read).collect();
    (found, parts)
}

/// The numbers of parts of the runs that have succeeded.
fn winners(outputs: &[Output]) -> Vec<usize> {
    let won = PARTS.into_iter().zip(outputs).filter(|(_, output)| code(output) == Some(0));
    won.map(|run| run.0).collect()
}

/// That all of the result is of one of these runs.
fn assert_whole(place: &Place, in_folder: bool, of: &[usize], context: &str) {
    let (found, parts) = found(place, in_folder);
    let whole = |parts: usize| {
        let parts = (0..parts).map(|part| format!("part-{part:05}"));
        std::iter::once("_SUCCESS".to_owned()).chain(parts).collect::<Vec<_>>()
    };
    assert!(of.iter().any(|&parts| whole(parts) == found), "{context}: {found:?}");
    assert_counts(&parts, context);
    assert!(in_folder || place.s3.uploads().is_empty(), "{context}: {:?}", place.s3.uploads());
}

#[test]
fn of_two_runs_at_once_one_succeeds_and_nothing_of_the_other_is_there() {
    for round in 0..6 {
        let (place, in_folder) = (Place::new(&json!({})), round % 2 == 0);
        let outputs = two_at_once(&place, in_folder, "Fail");
        let context = format!("round {round}: {}, {}", said(&outputs[0]), said(&outputs[1]));
        let won = winners(&outputs);
        assert_eq!(won.len(), 1, "{context}");
        let lost = outputs.iter().find(|output| code(output) != Some(0)).unwrap();
        let why = said(lost);
        assert_eq!(code(lost), Some(1), "{context}");
        assert!(why.contains("first") || why.contains("exists: there is"), "{context}");
        assert_whole(&place, in_folder, &won, &context);
    }
}

#[test]
fn of_two_runs_at_once_that_replace_the_result_is_wholly_one_s() {
    for round in 0..6 {
        let (place, in_folder) = (Place::new(&json!({})), round % 2 == 0);
        let outputs = two_at_once(&place, in_folder, "Replace");
        let context = format!("round {round}: {}, {}", said(&outputs[0]), said(&outputs[1]));
        let won = winners(&outputs);
        assert!(!won.is_empty(), "{context}");
        assert_whole(&place, in_folder, &won, &context);
    }
}

/// Writes an object as another program does, in a thread: the server does one request after the other.
fn write_beside(endpoint: &str, key: &str) -> JoinHandle<()> {
    let address = endpoint.trim_start_matches("http://").to_owned();
    let request = format!("PUT /b/{key} HTTP/1.1\r\nContent-Length: 4\r\n\r\nmine");
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    })
}

#[test]
fn a_part_that_another_program_writes_while_a_run_is_at_work_stays_and_the_run_fails() {
    let place = Place::new(&json!({}));
    let (endpoint, writing) = (place.s3.endpoint(), std::sync::Arc::new(Mutex::new(None)));
    let (thread, asked) = (std::sync::Arc::clone(&writing), AtomicUsize::new(0));
    place.s3.on(move |request: &Request| {
        let reads = Moment::of(request) == Moment::ReadsInput;
        if reads && asked.fetch_add(1, Ordering::Relaxed) == 0 {
            *thread.lock().unwrap() = Some(write_beside(&endpoint, "out/part-00000"));
            // It is asked again, when that is there.
            return Some(Fault::Closed);
        }
        None
    });
    let output = place.command("job.yaml").output().unwrap();
    writing.lock().unwrap().take().expect("nothing was read").join().unwrap();
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    assert!(said(&output).contains("out/part-00000"), "{}", said(&output));
    assert_eq!(place.written(), ["out/part-00000"], "{}", said(&output));
    assert_eq!(place.s3.get("out/part-00000").unwrap(), b"mine");
    assert!(place.s3.uploads().is_empty());

    // The same in a folder.
    std::fs::create_dir(place.path().join("in")).unwrap();
    std::fs::write(place.path().join("in/a"), TEXTS[0]).unwrap();
    let shell = format!("echo mine >{}; cat", place.path().join("out/part-00000").display());
    place.manifest(
        "local.yaml",
        &json!({
            "input": {"urls": ["file:in/"]}, "output": {"url": "file:out/"},
            "map": {"function": {"command": {"shell": shell}}}, "reduce": {"tasks": 0}, "retries": 0,
        }),
    );
    let output = place.command("local.yaml").output().unwrap();
    assert_eq!(code(&output), Some(1), "{}", said(&output));
    assert!(said(&output).contains("out/part-00000"), "{}", said(&output));
    let out = place.path().join("out");
    assert_eq!(names(&out), ["part-00000"], "{}", said(&output));
    assert_eq!(std::fs::read(out.join("part-00000")).unwrap(), b"mine\n");
}
