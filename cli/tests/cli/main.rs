//! The command as a user types it: exit codes, what is on stdout and what on stderr.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

mod buckets;
mod endings;
mod sizes;
mod stores;

struct Place(tempfile::TempDir);

impl Place {
    /// A folder with `job.yaml`, a word count of `in/` into `out/`.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("in/a.txt", "to be or not to be\n");
        place.manifest(&json!({}));
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes `job.yaml` with other values for some fields of the spec.
    fn manifest(&self, fields: &Value) {
        let mut spec = json!({
            "input": {"urls": ["file:in/"]},
            "map": {"function": {"builtin": {"name": "words"}}},
            "reduce": {"function": {"builtin": {"name": "sum"}}, "tasks": 1},
            "output": {"url": "file:out/"},
        });
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        let manifest = json!({
            "apiVersion": "mapreduce.dev/v1alpha1", "kind": "MapReduceJob",
            "metadata": {"name": "count"}, "spec": spec,
        });
        self.write("job.yaml", &serde_json::to_string_pretty(&manifest).unwrap());
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("mapreduce"));
        command.args(args).current_dir(self.path()).env_remove("AWS_ACCESS_KEY_ID");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let Ok(items) = std::fs::read_dir(self.path().join(folder)) else { return Vec::new() };
        let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_run_writes_the_result_and_says_so() {
    let place = Place::new();
    let output = place.run(&["run", "job.yaml"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let result = std::fs::read_to_string(place.path().join("out/part-00000")).unwrap();
    assert_eq!(result, "be\t2\nnot\t1\nor\t1\nto\t2\n");
    assert_eq!(place.names("out"), ["_SUCCESS", "part-00000"]);
    assert!(stdout(&output).starts_with("count succeeded in "), "{}", stdout(&output));
    assert!(stderr(&output).contains("count: map 1/1"), "{}", stderr(&output));
    assert_eq!(stderr(&place.run(&["run", "job.yaml", "--quiet", "--output", "file:other/"])), "");
}

#[test]
fn json_is_one_object_and_nothing_else() {
    let place = Place::new();
    let output = place.run(&["run", "job.yaml", "--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["state"], "Succeeded");
    assert_eq!(json["counters"]["mapOutputRecords"], 6);
    assert_eq!(json["counters"]["user"], json!({}));
    assert_eq!(json["error"], Value::Null);
    let part = &json["outputs"][0];
    assert!(part["url"].as_str().unwrap().ends_with("/out/part-00000"));
    assert_eq!((&part["bytes"], &part["records"]), (&json!(21), &json!(4)));

    let output = place.run(&["run", "job.yaml", "--json"]);
    assert_eq!(code(&output), 1);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["state"], "Failed");
    assert!(json["error"]["message"].as_str().unwrap().contains("exists"), "{json}");
    assert!(json["error"]["causes"].is_array() && json["error"]["record"].is_null());
}

#[test]
fn urls_on_the_command_line_are_relative_to_the_current_folder() {
    let place = Place::new();
    place.write("elsewhere/b.txt", "x x x\n");
    std::fs::create_dir(place.path().join("jobs")).unwrap();
    std::fs::rename(place.path().join("job.yaml"), place.path().join("jobs/job.yaml")).unwrap();
    let output = place.run(&[
        "run",
        "jobs/job.yaml",
        "--input",
        "file:elsewhere/",
        "--input",
        "file:in/a.txt",
        "--output",
        "file:out2",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let result = std::fs::read_to_string(place.path().join("out2/part-00000")).unwrap();
    assert_eq!(result, "be\t2\nnot\t1\nor\t1\nto\t2\nx\t3\n");
}

#[test]
fn what_the_manifest_alone_shows_is_exit_code_2_and_touches_nothing() {
    let sum = |args: Value| json!({"function": {"builtin": {"name": "sum", "args": args}}});
    for (fields, says) in [
        (json!({"mapp": {}}), "mapp"),
        (json!({"output": {"url": "ftp://x/"}}), "ftp://x/"),
        (json!({"input": {"urls": []}}), "spec.input.urls"),
        (json!({"map": {"function": {"builtin": {"name": "wordz"}}}}), "wordz"),
        (json!({"reduce": sum(json!({"size": 3}))}), "size"),
        (json!({"combine": {"function": {"builtin": {"name": "count"}}}}), "`sum` for combine and reduce"),
        (
            json!({"map": {"function": {"builtin": {"name": "grep", "args": {"pattern": "("}}}}}),
            "unclosed group",
        ),
        (json!({"reduce": {}}), "tasks: 0"),
        (json!({"output": {"url": "file:in/out/"}}), "`file:in/out/` is inside the input `file:in/`"),
        (json!({"output": {"url": "file:./", "ifExists": "Replace"}}), "`file:./` is above the input"),
        (json!({"output": {"url": "file:///", "ifExists": "Replace"}}), "`file:///`"),
        (json!({"shuffle": {"url": "file:in/x/"}}), "spec.shuffle.url: `file:in/x/` is inside"),
        (
            json!({"storage": {"s3": {"endpoint": "minio:9000"}}}),
            "spec.storage.s3.endpoint: `minio:9000` has no scheme",
        ),
        (
            json!({"combine": {"function": {"builtin": {"name": "sum"}}},
                   "reduce": {"function": {"builtin": {"name": "mean"}}}}),
            "spec.combine.function: `sum` as a combine function gives another result before `mean`",
        ),
        (
            json!({"input": {"urls": ["file:in/"], "format": {"type": "Lines", "lines": {"maxRecordBytes": 0}}}}),
            "maxRecordBytes: a record has from 1 to 1Gi bytes",
        ),
        (json!({"taskTimeoutSeconds": 315_360_001}), "is more than 315360000"),
        (json!({"maxFailedTasks": "101%"}), "or a percentage such as 5%"),
    ] {
        let place = Place::new();
        place.manifest(&fields);
        for command in ["run", "plan", "validate"] {
            let output = place.run(&[command, "job.yaml"]);
            let text = stderr(&output);
            assert_eq!(code(&output), 2, "{command} {fields}: {text}");
            assert!(text.contains(says), "{command} {fields}: {text}");
            assert!(stdout(&output).is_empty());
        }
        assert_eq!(place.names("."), ["in", "job.yaml"], "{fields}");
    }
    let place = Place::new();
    assert_eq!(code(&place.run(&["run", "missing.yaml"])), 2);
    assert_eq!(code(&place.run(&["run"])), 2);
    assert_eq!(code(&place.run(&["run", "job.yaml", "--memory", "lots"])), 2);
    let output = place.run(&["run", "job.yaml", "--memory", "63Mi"]);
    assert!(code(&output) == 2 && stderr(&output).contains("give it 64Mi or more"), "{}", stderr(&output));
}

#[test]
fn what_only_a_cluster_has_is_valid_and_runs_there_alone() {
    let key = json!({"configMapKeyRef": {"name": "scripts", "key": "map.js"}});
    let env = json!([{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]);
    for (function, says) in [
        (
            json!({"script": {"language": "javascript", "sourceFrom": key}}),
            "sourceFrom.configMapKeyRef works on a cluster only",
        ),
        (json!({"command": {"shell": "cat", "env": env}}), "command.env: valueFrom works on a cluster only"),
    ] {
        let place = Place::new();
        place.manifest(&json!({"map": {"function": function}}));
        assert_eq!(code(&place.run(&["validate", "job.yaml"])), 0);
        for command in ["run", "plan"] {
            let output = place.run(&[command, "job.yaml"]);
            assert_eq!(code(&output), 2);
            assert!(stderr(&output).contains(says), "{}", stderr(&output));
        }
        assert_eq!(place.names("."), ["in", "job.yaml"]);
    }
}

#[test]
fn what_needs_the_data_is_exit_code_1_and_leaves_nothing() {
    for (fields, says) in [
        (json!({"input": {"urls": ["file:no/*.txt"]}}), "file:no/*.txt matches no object"),
        (json!({"input": {"urls": ["file:in"]}}), "write file:in/"),
        (
            json!({"input": {"urls": ["file:in/"], "format": {"type": "KeyValue"}}, "map": {}}),
            "is not a number",
        ),
        (json!({"input": {"urls": ["file:in/"], "compression": "Gzip"}}), "in/a.txt is not gzip data"),
    ] {
        let place = Place::new();
        place.manifest(&fields);
        let output = place.run(&["run", "job.yaml"]);
        assert_eq!(code(&output), 1, "{fields}");
        assert!(stderr(&output).contains(says), "{fields}: {}", stderr(&output));
        assert!(place.names("out").is_empty(), "{fields}: {:?}", place.names("out"));
    }
}

#[test]
fn credentials_that_are_missing_are_said_to_be() {
    let place = Place::new();
    place.manifest(
        &json!({"output": {"url": "s3://b/out/"}, "storage": {"s3": {"endpoint": "http://127.0.0.1:1"}}}),
    );
    let output = place.run(&["run", "job.yaml"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("no credentials for s3://b/"), "{}", stderr(&output));
    assert_eq!(code(&place.run(&["validate", "job.yaml"])), 0, "a valid manifest needs no credentials");
}

/// Answers each request with `answer`, on loopback; its address.
fn serve(answer: &'static str) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            while head.next().is_some_and(|line| !line.is_empty()) {}
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn stores_without_tls_are_reached_where_there_are_no_certificate_authorities() {
    let place = Place::new();
    let run = |fields: &Value| {
        place.manifest(fields);
        let mut command = place.command(&["run", "job.yaml", "--quiet"]);
        command.env("SSL_CERT_FILE", "/nowhere/ca.crt").env("SSL_CERT_DIR", "/nowhere");
        command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap()
    };
    let web = serve("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nto be\n");
    let output = run(&json!({"input": {"urls": [format!("http://{web}/x")]}}));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let result = std::fs::read_to_string(place.path().join("out/part-00000")).unwrap();
    assert_eq!(result, "be\t1\nto\t1\n");
    // That they are missing shows where they are needed.
    let output =
        run(&json!({"input": {"urls": ["https://127.0.0.1:9/x"]}, "output": {"url": "file:other/"}}));
    assert!(stderr(&output).contains("can't reach https://127.0.0.1:9/"), "{}", stderr(&output));
    // A bucket that is empty.
    let bucket = serve(
        "HTTP/1.1 200 OK\r\nContent-Length: 105\r\nConnection: close\r\n\r\n\
         <ListBucketResult><Name>b</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
    );
    let output = run(&json!({
        "input": {"urls": ["s3://b/in/"]},
        "output": {"url": "file:other/"},
        "storage": {"s3": {"endpoint": format!("http://{bucket}")}},
    }));
    assert!(stderr(&output).contains("s3://b/in/ matches no object"), "{}", stderr(&output));
}

/// Runs a job that may write no file of more than so many blocks of 512 bytes.
fn run_on_a_small_disk(place: &Place, blocks: u32, args: &str) -> Output {
    let command = assert_cmd::cargo::cargo_bin!("mapreduce").display();
    // Not to be ended by the signal is to get an error, as on a disk that is full.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec {command} run job.yaml --quiet {args}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(place.path()).env("TMPDIR", place.path().join("scratch"));
    shell.output().unwrap()
}

#[test]
fn a_full_disk_is_an_error_that_names_the_place_and_leaves_nothing() {
    let place = Place::new();
    let words: Vec<String> = (0..1_600_000u32).map(|i| i.wrapping_mul(2_654_435_761).to_string()).collect();
    place.write("in/a.txt", &words.join("\n"));
    let identity = json!({"function": {"builtin": {"name": "identity"}}, "tasks": 1});
    place.manifest(&json!({"reduce": identity}));
    for (blocks, args, message) in
        [(2000, "", "/out/"), (100, "--memory 64Mi", "can't write intermediate data to a scratch file in ")]
    {
        let output = run_on_a_small_disk(&place, blocks, args);
        let said = stderr(&output);
        assert_eq!(code(&output), 1, "{said}");
        assert!(said.contains(message) && said.contains("File too large"), "{said}");
        assert!(!place.path().join("out").exists(), "{:?}", place.names("out"));
        assert!(place.names("scratch").is_empty());
    }
    assert_eq!(
        code(&run_on_a_small_disk(&place, 1_000_000, "--memory 64Mi")),
        0,
        "a disk that is large enough"
    );
}

#[test]
fn what_can_t_be_read_is_named() {
    let place = Place::new();
    let link =
        |target: &str, name: &str| std::os::unix::fs::symlink(target, place.path().join(name)).unwrap();
    link("nowhere", "in/broken");
    link("circle", "in/circle");
    place.write("tree/file", "x");
    for (url, message) in [
        ("file:in/", "/in/circle"),
        ("file:in/circle", "/in/circle"),
        ("file:in/broken", "file:in/broken matches no object"),
        ("file:tree/file/below", "/tree/file/below"),
        ("file:tree", "file:tree is a folder"),
    ] {
        place.manifest(&json!({"input": {"urls": [url]}}));
        let output = place.run(&["run", "job.yaml", "--quiet"]);
        assert_eq!(code(&output), 1, "{url}");
        assert!(stderr(&output).contains(message), "{url}: {}", stderr(&output));
        assert!(!place.path().join("out").exists(), "{url}");
    }
}

#[test]
fn a_plan_says_how_the_work_is_divided_and_runs_nothing() {
    let place = Place::new();
    place.write("in/big.txt", &"some text\n".repeat(50_000));
    let numbers: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let packed = flate2::read::GzEncoder::new(&numbers[..], flate2::Compression::fast());
    let packed: Vec<u8> = std::io::Read::bytes(packed).collect::<Result<_, _>>().unwrap();
    std::fs::write(place.path().join("in/packed.gz"), packed).unwrap();
    place.manifest(&json!({"input": {"urls": ["file:in/"], "splitSize": "100Ki"}}));
    let output = place.run(&["plan", "job.yaml"]);
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(text.contains("3 objects") && text.contains("1 task, 1 partition"), "{text}");
    assert!(text.contains("packed.gz") && text.contains("it is gzip data"), "{text}");
    assert!(place.names("out").is_empty());
    let json: Value = serde_json::from_slice(&place.run(&["plan", "job.yaml", "--json"]).stdout).unwrap();
    assert_eq!(json["splits"], 7, "five of the big object, the gzip data, the small object: {json}");
    assert_eq!(json["partitions"], 1);
}

#[test]
fn a_valid_manifest_is_said_to_be() {
    let place = Place::new();
    let output = place.run(&["validate", "job.yaml"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "job.yaml: MapReduceJob count is valid\n"));
}

#[test]
fn a_failure_shows_the_record_and_where_it_is() {
    let place = Place::new();
    place.write("in/a.txt", "fine\nbad\trecord\n");
    for source in [
        "def map(key, value):\n    if value != 'fine':\n        raise ValueError('no')\n",
        "function map(key, value) { if (value != 'fine') throw new Error('no'); }",
    ] {
        let language = if source.starts_with("def") { "python" } else { "javascript" };
        let function = json!({"function": {"script": {"language": language, "source": source}}});
        place.manifest(&json!({"map": function, "retries": 0}));
        let output = place.run(&["run", "job.yaml", "--quiet"]);
        let said = stderr(&output);
        assert!(code(&output) == 1 && said.contains("in/a.txt at byte 5: `bad\\trecord`"), "{said}");
    }
}

#[test]
fn a_plan_runs_no_function_unless_it_is_to_take_a_sample() {
    let place = Place::new();
    place.write("in/b.txt", &"to be or not to be\n".repeat(1000));
    let touches = format!("touch {}/ran; cat", place.path().display());
    for function in [
        json!({"command": {"shell": touches}}),
        json!({"script": {"language": "python", "source":
        format!("open('{}/ran', 'w')\ndef map(key, value): yield value, 1", place.path().display())}}),
    ] {
        let reduce = json!({"function": {"builtin": {"name": "identity"}}, "tasks": 2, "partitioner": {"type": "Range"}});
        place.manifest(&json!({"map": {"function": function}, "reduce": reduce}));
        for command in ["validate", "plan"] {
            let output = place.run(&[command, "job.yaml"]);
            assert_eq!(code(&output), 0, "{}", stderr(&output));
            assert!(!place.path().join("ran").exists(), "{command} ran the function");
        }
        let text = stdout(&place.run(&["plan", "job.yaml"]));
        assert!(text.contains("not known   how keys are shared out") && text.contains("--sample"), "{text}");
        let json: Value = serde_json::from_slice(&place.run(&["plan", "job.yaml", "--json"]).stdout).unwrap();
        assert!(
            json["unknown"][0].as_str().unwrap().contains("--sample") && json["ranges"].is_null(),
            "{json}"
        );

        let text = stdout(&place.run(&["plan", "job.yaml", "--sample"]));
        assert!(!text.contains("not known") && text.contains("ranges      "), "{text}");
        assert!(place.path().join("ran").exists(), "without it there is no sample");
        std::fs::remove_file(place.path().join("ran")).unwrap();
    }
    // Without ranges there is nothing to sample.
    place.manifest(&json!({}));
    assert!(!stdout(&place.run(&["plan", "job.yaml"])).contains("not known"));
}

#[test]
fn a_manifest_that_is_none_is_bad_usage_and_says_what_it_is() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("folder")).unwrap();
    std::fs::write(place.path().join("latin1.yaml"), b"kind: caf\xe9\n").unwrap();
    place.write("empty.yaml", "");
    place.write("marks.yaml", &"---\n".repeat(10_000));
    for (file, says) in [
        ("folder", "can't read folder: "),
        ("latin1.yaml", "latin1.yaml is not valid UTF-8: see the byte at 9"),
        ("empty.yaml", "there is no document in it"),
        ("marks.yaml", "there is no document in it"),
        ("/dev/zero", "larger than 3 MiB"),
        ("gone.yaml", "can't read gone.yaml: "),
    ] {
        let output = place.run(&["validate", file]);
        assert_eq!(code(&output), 2, "{file}");
        assert!(stderr(&output).contains(says), "{file}: {}", stderr(&output));
    }
}
