//! What a request asks for.

use std::collections::BTreeMap;

use http::{Method, Uri};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::Value;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Replace,
    Merge,
    Apply,
    Delete,
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) query: BTreeMap<String, String>,
}

impl Route {
    /// `/apis/GROUP/VERSION/namespaces/NS/RESOURCE/NAME/SUBRESOURCE`, each part but the resource optional.
    pub(crate) fn parse(method: &Method, uri: &Uri, content: &str) -> Self {
        let mut parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        parts.drain(..if parts[0] == "api" { 2 } else { 3 });
        let mut namespace = String::new();
        if parts[0] == "namespaces" && parts.len() > 2 {
            parts[1].clone_into(&mut namespace);
            parts.drain(..2);
        }
        let part = |i: usize| parts.get(i).map(|p| (*p).to_owned()).unwrap_or_default();
        let query: BTreeMap<String, String> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decode(value)))
            .collect();
        let watch = query.get("watch").is_some_and(|w| w == "true" || w == "1");
        let verb = match (method, part(1).is_empty()) {
            (&Method::GET, true) if watch => Verb::Watch,
            (&Method::GET, true) => Verb::List,
            (&Method::GET, false) => Verb::Get,
            (&Method::POST, _) => Verb::Create,
            (&Method::PUT, _) => Verb::Replace,
            (&Method::DELETE, _) => Verb::Delete,
            (&Method::PATCH, _) if content.contains("apply-patch") => Verb::Apply,
            (&Method::PATCH, _) if content.contains("merge-patch") => Verb::Merge,
            other => panic!("the operator never asks for {other:?} {uri} {content}"),
        };
        Self { verb, resource: part(0), namespace, name: part(1), subresource: part(2), query }
    }

    /// Whether it changes something.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |c: &u8| (*c as char).to_digit(16).unwrap() as u8;
                bytes.push(digit(high) * 16 + digit(low));
                rest = tail;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What a request asks for, and its body.
pub(crate) async fn read(request: http::Request<Body>) -> std::io::Result<(Route, Value)> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let content = head.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    Ok((Route::parse(&head.method, &head.uri, content), serde_json::from_slice(&body).unwrap_or_default()))
}
