//! `mapreduce buckets`, as a user meets it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};

use super::{Place, code, stderr, stdout};

/// A server that gives these answers, and hands the heads of its requests on.
fn server(answers: Vec<(u16, &'static str)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (heads, received) = channel();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            drop(heads.send(head.join("\n")));
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    (endpoint, received)
}

fn list(args: &[&str]) -> Output {
    let place = Place::new();
    let mut command = place.command(&[&["buckets", "s3"], args].concat());
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret").output().unwrap()
}

#[test]
fn buckets_are_numbered_in_the_order_of_the_service_over_all_pages() {
    let first = "<?xml version=\"1.0\"?><ListAllMyBucketsResult><Owner><DisplayName>me</DisplayName></Owner><Buckets>\
                 <Bucket><Name>zebra</Name></Bucket><Bucket><CreationDate>x</CreationDate><Name>a&amp;b</Name></Bucket>\
                 </Buckets><ContinuationToken>t+1</ContinuationToken></ListAllMyBucketsResult>";
    let last = "<ListAllMyBucketsResult><Buckets><Bucket><Name>last</Name></Bucket></Buckets></ListAllMyBucketsResult>";
    let (endpoint, heads) = server(vec![(200, first), (200, last)]);
    let output = list(&["--endpoint", &endpoint, "--region", "eu-north-1"]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, "1. zebra\n2. a&b\n3. last\n"),
        "{}",
        stderr(&output)
    );
    let (asked_first, asked_last) = (heads.recv().unwrap(), heads.recv().unwrap());
    assert!(asked_first.starts_with("GET / HTTP/1.1\n"), "{asked_first}");
    assert!(asked_first.contains("AWS4-HMAC-SHA256 Credential=id/"), "{asked_first}");
    assert!(asked_first.contains("/eu-north-1/s3/aws4_request"), "{asked_first}");
    assert!(asked_last.starts_with("GET /?continuation-token=t%2B1 HTTP/1.1\n"), "{asked_last}");
}

#[test]
fn who_has_no_bucket_is_told_so() {
    let (endpoint, _) = server(vec![(200, "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>")]);
    let output = list(&["--endpoint", &endpoint]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "You don't have any S3 bucket.\n"));
}

#[test]
fn a_refusal_and_an_answer_that_is_no_list_are_errors_that_name_the_server() {
    let refusal = "<Error><Code>InvalidAccessKeyId</Code><Message>Unknown key.</Message></Error>";
    for (status, body, texts) in [
        (403, refusal, ["the credentials don't allow it", "InvalidAccessKeyId: Unknown key."]),
        (
            200,
            "<html>hello</html>",
            ["doesn't answer with a list of buckets", "name the address of an S3 server"],
        ),
        (404, "", ["can't list the buckets of", "the server answers 404"]),
    ] {
        let (endpoint, _) = server(vec![(status, body)]);
        let output = list(&["--endpoint", &endpoint]);
        assert_eq!(code(&output), 1, "{}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{}", stdout(&output));
        let said = stderr(&output);
        assert!(said.contains(&endpoint) && texts.iter().all(|text| said.contains(text)), "{said}");
    }
}

#[test]
fn keys_that_are_missing_are_named() {
    let place = Place::new();
    let mut command = place.command(&["buckets", "s3", "--endpoint", "http://127.0.0.1:1"]);
    let output = command.env_remove("AWS_ACCESS_KEY_ID").output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_keys_of_a_profile_are_used() {
    let (endpoint, heads) = server(vec![(200, "<ListAllMyBucketsResult></ListAllMyBucketsResult>")]);
    let place = Place::new();
    let file = place.path().join("credentials");
    std::fs::write(&file, "[work]\naws_access_key_id = mine\naws_secret_access_key = hidden\n").unwrap();
    let mut command = place.command(&["buckets", "s3", "--profile", "work", "--endpoint", &endpoint]);
    command.env("AWS_SHARED_CREDENTIALS_FILE", &file).env_remove("AWS_ACCESS_KEY_ID");
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(heads.recv().unwrap().contains("Credential=mine/"));
    let mut command = place.command(&["buckets", "s3", "--profile", "other", "--endpoint", &endpoint]);
    let output = command.env("AWS_SHARED_CREDENTIALS_FILE", &file).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("profile other in"), "{}", stderr(&output));
}
