//! Servers, links and streams, as a user meets them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{Place, code, stderr};

#[test]
fn a_server_without_a_scheme_in_the_environment_is_a_usage_error() {
    let place = Place::new();
    place.manifest(&json!({"output": {"url": "s3://b/out/"}}));
    for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"] {
        let mut command = place.command(&["run", "job.yaml"]);
        let output = command.env(name, "minio:9000").env("AWS_ACCESS_KEY_ID", "x").output().unwrap();
        assert_eq!(code(&output), 2, "{}", stderr(&output));
        assert!(
            stderr(&output).contains(&format!("{name}: `minio:9000` has no scheme")),
            "{}",
            stderr(&output)
        );
        assert!(stderr(&output).contains("write http://minio:9000"), "{}", stderr(&output));
    }
}

#[test]
fn a_link_that_leads_nowhere_is_a_warning_with_their_number() {
    let place = Place::new();
    for name in ["x", "y"] {
        std::os::unix::fs::symlink("nowhere", place.path().join("in").join(name)).unwrap();
    }
    let output = place.run(&["run", "job.yaml"]);
    assert_eq!(code(&output), 0);
    let text = stderr(&output);
    assert!(text.contains("lead nowhere") && text.contains("links=2"), "{text}");
}

#[test]
fn a_stream_is_read_once_from_its_beginning() {
    let place = Place::new();
    let text = "a b a\n".repeat(100_000);
    let in_manifest = json!({"input": {"urls": ["file:///dev/stdin"]}, "combine": {"function": {"builtin": {"name": "sum"}}}});
    place.manifest(&in_manifest);
    let run = |place: &Place, text: &str| {
        let mut command = place.command(&["run", "job.yaml"]);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who refuses it doesn't read it.
        drop(child.stdin.take().unwrap().write_all(text.as_bytes()));
        child.wait_with_output().unwrap()
    };
    let output = run(&place, &text);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(
        std::fs::read_to_string(place.path().join("out/part-00000")).unwrap(),
        "a\t200000\nb\t100000\n"
    );
    // Compressed like any other input, by name like any other file.
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.path().join("fifo")).status().unwrap().success());
    place.manifest(&json!({"input": {"urls": ["file:fifo"]}}));
    let fifo = place.path().join("fifo");
    let writer = std::thread::spawn(move || {
        let mut gzip = Command::new("gzip");
        gzip.arg("-c").stdin(std::process::Stdio::piped());
        let mut child =
            gzip.stdout(std::fs::OpenOptions::new().write(true).open(fifo).unwrap()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"a b a\n").unwrap();
        child.wait().unwrap()
    });
    let output = place.run(&["run", "job.yaml"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(writer.join().unwrap().success());
    assert_eq!(std::fs::read_to_string(place.path().join("out/part-00000")).unwrap(), "a\t2\nb\t1\n");
    // What has to read twice says so.
    let place = Place::new();
    let mut fields = in_manifest;
    fields["reduce"] =
        json!({"function": {"builtin": {"name": "sum"}}, "tasks": 2, "partitioner": {"type": "Range"}});
    place.manifest(&fields);
    let output = run(&place, "a b\n");
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("is a stream, which can't be sampled"), "{}", stderr(&output));
}

#[test]
fn streams_below_a_prefix_are_a_warning_with_their_number() {
    let place = Place::new();
    for name in ["in/x", "in/y", "only/z"] {
        std::fs::create_dir_all(place.path().join(name).parent().unwrap()).unwrap();
        assert!(Command::new("mkfifo").arg(place.path().join(name)).status().unwrap().success());
    }
    let output = place.run(&["run", "job.yaml"]);
    assert_eq!(code(&output), 0);
    let text = stderr(&output);
    assert!(text.contains("are read only where a URL names them") && text.contains("streams=2"), "{text}");
    place.manifest(&json!({"input": {"urls": ["file:only/"]}, "output": {"url": "file:other/"}}));
    let output = place.run(&["run", "job.yaml"]);
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("file:only/ matches no object"), "{text}");
    assert!(text.contains("1 FIFO or device that it matches is not read"), "{text}");
}

#[test]
fn that_nothing_listens_is_said_at_once_though_it_is_tried_for_longer() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (input, storage) in [
        ("s3://b/in/".to_owned(), json!({"s3": {"endpoint": format!("http://{closed}")}})),
        (format!("http://{closed}/x"), json!({})),
    ] {
        let place = Place::new();
        place.manifest(&json!({"input": {"urls": [input]}, "storage": storage}));
        let mut command = place.command(&["run", "job.yaml", "--quiet"]);
        command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s");
        let mut run = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(run.stderr.take().unwrap()).read_line(&mut line).unwrap();
        // It waits.
        let is_running = run.try_wait().unwrap().is_none();
        run.kill().unwrap();
        run.wait().unwrap();
        assert!(
            line.contains("The store is away since ") && line.contains("up to 600 s") && is_running,
            "{line}"
        );
        assert!(line.contains("the connection was refused") && line.contains(&closed.to_string()), "{line}");
    }
}

/// A key and a self-signed certificate for 127.0.0.1, as most people make them.
fn self_signed(place: &Place) -> (PathBuf, PathBuf) {
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| place.path().join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .args([key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, certificate)
}

/// A server that speaks TLS and gives the same to everybody.
fn serve_tls(key: &Path, certificate: &Path) -> SocketAddr {
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let certificate = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificate, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream =
                StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream.unwrap());
            let mut asked = [0; 4096];
            // Who doesn't trust it hangs up.
            if stream.read(&mut asked).is_ok_and(|read| read > 0) {
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\na b\n"),
                );
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    address
}

#[test]
fn a_certificate_that_is_not_trusted_says_so_and_one_that_is_named_is_trusted() {
    let place = Place::new();
    let (key, certificate) = self_signed(&place);
    let address = serve_tls(&key, &certificate);
    let run = |host: &str, trusted: Option<&Path>| {
        let url = format!("https://{host}:{}/x.txt", address.port());
        place.manifest(
            &json!({"input": {"urls": [url]}, "output": {"url": "file:out/", "ifExists": "Replace"}}),
        );
        let mut command = place.command(&["run", "job.yaml"]);
        command
            .env_remove("SSL_CERT_FILE")
            .envs(trusted.map(|file| ("SSL_CERT_FILE", file)))
            .output()
            .unwrap()
    };
    let output = run("127.0.0.1", None);
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("signed by an authority that is not trusted here"), "{text}");
    assert!(text.contains("set SSL_CERT_FILE to a file with the authority's certificate"), "{text}");
    let output = run("127.0.0.1", Some(&certificate));
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    // It is trusted for the names that it holds and no others.
    let output = run("localhost", Some(&certificate));
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("invalid peer certificate"), "{}", stderr(&output));
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut hello = [0; 4096];
            drop(stream.read(&mut hello));
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    for (input, storage, setting) in [
        (
            "s3://b/in/".to_owned(),
            json!({"s3": {"endpoint": format!("https://{address}")}}),
            "spec.storage.s3.endpoint",
        ),
        (format!("https://{address}/x"), json!({}), "the URL"),
    ] {
        let place = Place::new();
        place.manifest(&json!({"input": {"urls": [input]}, "storage": storage}));
        let mut command = place.command(&["run", "job.yaml"]);
        let output =
            command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap();
        assert_eq!(code(&output), 1);
        let text = stderr(&output);
        assert!(
            text.contains("it does not speak TLS") && text.contains(&format!("https://{address}")),
            "{text}"
        );
        assert!(text.contains("write http://") && text.contains(setting), "{text}");
        assert!(!text.contains("is away"), "{text}");
    }
}
