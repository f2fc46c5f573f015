//! Why a server isn't reached, and what to do: the libraries' own words for all of it are "error sending request".

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;

/// What stands in the way of any request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    UnknownHost,
    Refused,
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
        } else if has(&["failed to lookup address", "dns error", "Name or service not known"]) {
            Some(Self::UnknownHost)
        } else if has(&["Connection refused"]) {
            Some(Self::Refused)
        } else {
            None
        }
    }

    fn cause(self) -> Option<&'static str> {
        match self {
            Self::UnknownHost => Some("the host's name is unknown"),
            Self::Refused => Some("the connection was refused: nothing listens there"),
            Self::Untrusted => Some("its certificate is signed by an authority that is not trusted here"),
            Self::BadCertificate => None,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::UnknownHost => "correct the address, or see whether the network's name service knows it",
            Self::Refused => "correct the host and the port, or start the server",
            Self::Untrusted => "set SSL_CERT_FILE to a file with the authority's certificate",
            Self::BadCertificate => "correct the address, or have the server's certificate renewed",
        }
    }
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
    matches!(obstacle(&said(error)), Some(Obstacle::Untrusted | Obstacle::BadCertificate))
}

/// Whether a server was not reached at all.
pub(super) fn is_unreached(error: &(dyn StdError + 'static)) -> bool {
    obstacle(&said(error)).is_some()
}

/// Says once that a server is not reached: requests are repeated for so long that silence would look like work.
#[derive(Debug, Default)]
pub(super) struct Notice(AtomicBool);

impl Notice {
    pub(super) fn give(&self, server: &str, error: &(dyn StdError + 'static)) {
        let cause = match obstacle(&said(error)) {
            Some(obstacle @ (Obstacle::UnknownHost | Obstacle::Refused)) => obstacle.cause(),
            _ => None,
        };
        if let Some(cause) = cause
            && !self.0.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(server, cause, "A server is not reached: it is asked again for up to a minute.");
        }
    }
}

/// Adds to a failure why it was, and the remedy where there is one.
pub(super) fn explained(failure: Error, error: &(dyn StdError + 'static)) -> Error {
    let said = said(error);
    let innermost = said.first().map(String::as_str).unwrap_or_default();
    match obstacle(&said) {
        None => failure.because(innermost),
        Some(obstacle) => {
            let failure = if is_final(error) { failure.permanently() } else { failure };
            let failure = failure.because(obstacle.cause().unwrap_or(innermost));
            failure.because(obstacle.remedy())
        }
    }
}
