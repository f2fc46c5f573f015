//! What a store's error means, in one line: the library's own holds requests, signatures and pages of XML.

use super::outage::{RequestFailure, Unmet, gave_up};
use super::unreached;
use crate::error::Error;

/// The error of a request for `key` of the bucket whose URLs begin with `base`.
pub(super) fn explain(verb: &str, base: &str, key: &str, error: &object_store::Error) -> Error {
    let url = format!("{base}{key}");
    let text = error.to_string();
    let (code, cause) = summarise(&text);
    match error {
        _ if matches!(code, Some("NoSuchBucket" | "ContainerNotFound")) => {
            Error::permanent(format!("there is no bucket {base}")).because(cause)
        }
        _ if code == Some("RequestTimeTooSkewed") => {
            let what = format!("can't {verb} {url}: the clock of this machine differs from the store's");
            Error::permanent(what).because(cause).because("set the clock, of the machine or of the server")
        }
        _ if is_refusal(error, &text) => {
            Error::permanent(format!("can't {verb} {url}: the credentials don't allow it")).because(cause)
        }
        object_store::Error::NotFound { .. } => Error::permanent(format!("there is no object {url}")),
        object_store::Error::Precondition { .. } => {
            Error::permanent(format!("{url} changed while the job was reading it: run the job again"))
        }
        _ if unreached::is_unreached(error) => {
            unreached::explained(Error::retry(format!("can't {verb} {url}")), &url, error)
        }
        _ => Error::retry(format!("can't {verb} {url}")).because(cause),
    }
}

/// The error of a request that has no result.
pub(super) fn explain_unmet(verb: &str, base: &str, key: &str, unmet: &Unmet<object_store::Error>) -> Error {
    match unmet {
        Unmet::Failed(error) => explain(verb, base, key, error),
        Unmet::Away(error, waited) => gave_up(explain(verb, base, key, error), *waited),
        Unmet::Cancelled => Error::cancelled(),
    }
}

/// What servers call it that they may answer later.
const PASSING: [&str; 6] = [
    "InternalError",
    "ServiceUnavailable",
    "SlowDown",
    "RequestTimeout",
    "ThrottlingException",
    "ServerBusy",
];

impl RequestFailure for object_store::Error {
    fn outage(&self) -> Option<String> {
        let text = self.to_string();
        let (code, cause) = summarise(&text);
        let is_passing = status_of(&text).is_some_and(|status| matches!(status, 408 | 429 | 500 | 502..=599));
        if is_passing || code.is_some_and(|code| PASSING.contains(&code)) {
            return Some(cause);
        }
        unreached::lost(self)
    }
}

/// The status of an answer that the library reports as an error.
fn status_of(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// Whether an object or an upload is not there, in a bucket that is.
pub(super) fn is_missing(error: &object_store::Error) -> bool {
    let text = error.to_string();
    match summarise(&text).0 {
        Some("NoSuchBucket" | "ContainerNotFound") => false,
        Some("NoSuchUpload") => true,
        _ => matches!(error, object_store::Error::NotFound { .. }),
    }
}

/// Whether an object has no byte of the range that was asked for.
pub(super) fn is_out_of_range(error: &object_store::Error) -> bool {
    let text = error.to_string();
    text.contains("status code: 416") || summarise(&text).0 == Some("InvalidRange")
}

/// Whether a server doesn't know a request or a condition of it, or doesn't allow it to these credentials.
pub(super) fn is_unknown_request(error: &object_store::Error) -> bool {
    use object_store::Error::{NotImplemented, NotSupported};
    let text = error.to_string();
    is_refusal(error, &text)
        || matches!(error, NotImplemented { .. } | NotSupported { .. })
        || matches!(summarise(&text).0, Some("NotImplemented" | "MethodNotAllowed"))
        || ["status code: 501", "status code: 405", "has no list of uploads"].iter().any(|s| text.contains(s))
}

fn is_refusal(error: &object_store::Error, text: &str) -> bool {
    use object_store::Error::{PermissionDenied, Unauthenticated};
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. })
        || text.contains("status code: 403")
        || text.contains("status code: 401")
}

/// The server's code, and its message or what else there is, in one line.
pub(super) fn summarise(text: &str) -> (Option<&str>, String) {
    let tag = |name: &str| {
        let from = text.find(&format!("<{name}>"))? + name.len() + 2;
        let to = text[from..].find(&format!("</{name}>"))? + from;
        Some(&text[from..to])
    };
    let code = tag("Code");
    let cause = match (code, tag("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => {
            let line = text.lines().next().unwrap_or_default();
            let line = line.strip_prefix("Generic S3 error: ").unwrap_or(line);
            // What was asked for, how often and for how long is before it.
            let (_, answer) = line.split_once("non-2xx status code: ").unwrap_or_default();
            let answer = answer.trim_end_matches([':', ' ']);
            let line =
                if answer.is_empty() { line.to_owned() } else { format!("the server answers {answer}") };
            line.chars().take(400).collect()
        }
    };
    (code, cause)
}

#[cfg(test)]
mod tests {
    use super::{RequestFailure as _, explain};
    use crate::error::ErrorKind;

    fn error(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn a_bucket_that_is_not_there_is_said_in_a_line() {
        let text = "Error performing list request: Server returned non-2xx status code: 404 Not Found: <?xml?>\n\
                    <Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>";
        let error = explain("list", "s3://b/", "k/", &error(text));
        assert_eq!(error.to_string(), "there is no bucket s3://b/");
        assert_eq!(error.causes(), ["NoSuchBucket: The specified bucket does not exist."]);
        assert_eq!(error.kind(), ErrorKind::Permanent);
    }

    #[test]
    fn refused_credentials_are_no_attempts_fault() {
        let text = "status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code></Error>";
        let error = explain("list", "s3://b/", "", &error(text));
        assert!(error.to_string().contains("credentials"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Permanent);
    }

    #[test]
    fn a_server_that_is_away_may_come_back() {
        let error = explain("read", "s3://b/", "k", &error("connection refused\nand much more"));
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert_eq!(error.causes(), ["connection refused"]);
    }

    #[test]
    fn an_answer_that_may_be_another_later_is_an_outage_and_no_other_is() {
        let performing = "Error performing GET http://h/b/k in 1s, after 8 retries - Server returned";
        for (answer, cause) in [
            ("non-2xx status code: 503 Service Unavailable: ", "the server answers 503 Service Unavailable"),
            ("non-2xx status code: 429 Too Many Requests: ", "the server answers 429 Too Many Requests"),
            (
                "non-2xx status code: 500 Internal Server Error: <Error><Code>InternalError</Code><Message>x</Message></Error>",
                "InternalError: x",
            ),
            ("error response: <Error><Code>SlowDown</Code></Error>", "SlowDown"),
        ] {
            assert_eq!(error(&format!("{performing} {answer}")).outage().as_deref(), Some(cause));
        }
        for answer in [
            "non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>",
            "non-2xx status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>",
            "non-2xx status code: 501 Not Implemented: ",
            "non-2xx status code: 412 Precondition Failed: ",
        ] {
            assert_eq!(error(&format!("{performing} {answer}")).outage(), None, "{answer}");
        }
    }
}
