//! Why a server isn't reached, and what to do: the libraries' own words for all of it are "error sending request".

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

use crate::error::Error;

/// What stands in the way of any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    UnknownHost,
    Refused,
    Silent,
    NoTls,
    Untrusted,
    BadCertificate,
}

impl Obstacle {
    fn of(text: &str) -> Option<Self> {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["UnknownIssuer", "CaUsedAsEndEntity"]) {
            Some(Self::Untrusted)
        } else if has(&["invalid peer certificate"]) {
            Some(Self::BadCertificate)
        } else if has(&["received corrupt message of type InvalidContentType"]) {
            Some(Self::NoTls)
        } else if has(&["failed to lookup address", "dns error", "Name or service not known"]) {
            Some(Self::UnknownHost)
        } else if has(&["Connection refused"]) {
            Some(Self::Refused)
        } else if has(&["operation timed out", "deadline has elapsed", "nothing was received"]) {
            Some(Self::Silent)
        } else {
            None
        }
    }

    fn cause(self) -> Option<&'static str> {
        match self {
            Self::UnknownHost => Some("the host's name is unknown"),
            Self::Refused => Some("the connection was refused: nothing listens there"),
            Self::Silent => Some("it does not answer"),
            Self::NoTls => Some("it does not speak TLS"),
            Self::Untrusted => Some("its certificate is signed by an authority that is not trusted here"),
            Self::BadCertificate => None,
        }
    }

    /// What to do; `setting` is where the server's address is written.
    fn remedy(self, setting: &str) -> String {
        match self {
            Self::UnknownHost => {
                format!(
                    "correct the address in {setting}, or see whether the network's name service knows it"
                )
            }
            Self::Refused => format!("correct the host and the port in {setting}, or start the server"),
            Self::Silent => format!(
                "correct the host and the port in {setting}, or see whether the server is at work and the network \
                 lets it through"
            ),
            Self::NoTls => {
                format!("write http:// in the place of https:// in {setting}, or correct the port")
            }
            Self::Untrusted => {
                "set SSL_CERT_FILE to a file with the authority's certificate, of pods in map.template and \
                                reduce.template"
                    .to_owned()
            }
            Self::BadCertificate => {
                format!("correct the address in {setting}, or have the server's certificate renewed")
            }
        }
    }
}

/// Where the address of the server is written that has these URLs.
fn setting(url: &str) -> &'static str {
    match url.split_once("://") {
        Some(("s3", _)) => "spec.storage.s3.endpoint or AWS_ENDPOINT_URL",
        _ => "the URL",
    }
}

/// The server that a request went to, as a library's message names it.
fn server(said: &[String]) -> Option<&str> {
    said.iter().find_map(|text| {
        let start = text.find("https://").or_else(|| text.find("http://"))?;
        let host = start + text[start..].find("://")? + 3;
        let end = text[host..].find(|c: char| "/?\"' )".contains(c)).map_or(text.len(), |end| host + end);
        Some(&text[start..end])
    })
}

/// All that a chain of errors says, the innermost first: those above it name the libraries' own layers.
fn said(error: &(dyn StdError + 'static)) -> Vec<String> {
    let mut all: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    all.reverse();
    all
}

fn obstacle(said: &[String]) -> Option<Obstacle> {
    said.iter().find_map(|text| Obstacle::of(text))
}

/// Whether asking again can't help.
pub(super) fn is_final(error: &(dyn StdError + 'static)) -> bool {
    matches!(obstacle(&said(error)), Some(Obstacle::NoTls | Obstacle::Untrusted | Obstacle::BadCertificate))
}

/// Whether a server was not reached at all.
pub(super) fn is_unreached(error: &(dyn StdError + 'static)) -> bool {
    obstacle(&said(error)).is_some()
}

/// Why a request or its answer was lost on the way, if it was.
pub(super) fn lost(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    let is_lost = chain.any(|error| error.downcast_ref::<HttpError>().is_some_and(is_lost))
        // The library has no kind for a body that is cut off.
        || said(error).iter().any(|text| text.contains("end of file before message length"));
    (is_lost && !is_final(error)).then(|| cause(error))
}

/// Whether the request or its answer was lost on the way.
pub(super) fn is_lost(error: &HttpError) -> bool {
    use HttpErrorKind::{Connect, Interrupted, Request, Timeout, Unknown};
    match error.kind() {
        Connect | Interrupted | Request | Timeout => true,
        // A connection that ends while a request is begun on it has no kind of its own.
        Unknown => said(error).iter().any(|text| text.contains("error sending request")),
        _ => false,
    }
}

/// What stood in the way, in a line.
pub(super) fn cause(error: &(dyn StdError + 'static)) -> String {
    let said = said(error);
    let known = obstacle(&said).and_then(Obstacle::cause).map(str::to_owned);
    known.unwrap_or_else(|| said.into_iter().next().unwrap_or_default())
}

/// Adds to a failure at this URL which server it was, why, and the remedy where there is one.
pub(super) fn explained(failure: Error, url: &str, error: &(dyn StdError + 'static)) -> Error {
    let said = said(error);
    let innermost = said.first().map(String::as_str).unwrap_or_default();
    let Some(obstacle) = obstacle(&said) else { return failure.because(innermost) };
    let failure = if is_final(error) { failure.permanently() } else { failure };
    let cause = obstacle.cause().unwrap_or(innermost);
    let failure = match server(&said).filter(|server| !url.starts_with(server)) {
        Some(server) => failure.because(format!("{server}: {cause}")),
        None => failure.because(cause),
    };
    failure.because(obstacle.remedy(setting(url)))
}
