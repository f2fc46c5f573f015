//! One TLS provider in the whole tree. With two of them the first connection of either panics.

use std::process::Command;

#[test]
fn no_ring_is_in_the_dependency_tree() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--workspace", "--edges", "normal,build", "--prefix", "none"])
        .current_dir("..")
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(
        text.lines().any(|line| line.starts_with("aws-lc-rs v")),
        "cargo tree has lost aws-lc-rs:\n{text}"
    );
    assert!(text.lines().all(|line| !line.starts_with("ring v")), "ring is back: see `cargo tree -i ring`");
}

#[tokio::test]
async fn a_client_with_tls_is_made_without_a_panic() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = kube::Config::new("https://127.0.0.1:1".parse().unwrap());
    let client = kube::Client::try_from(config).unwrap();
    let error = client.apiserver_version().await.unwrap_err();
    assert!(!error.to_string().is_empty());
}
