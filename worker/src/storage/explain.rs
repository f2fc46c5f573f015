//! What a store's error means, in one line: the library's own holds requests, signatures and pages of XML.

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
        _ if is_refusal(error, &text) => {
            Error::permanent(format!("can't {verb} {url}: the credentials don't allow it")).because(cause)
        }
        object_store::Error::NotFound { .. } => Error::permanent(format!("there is no object {url}")),
        object_store::Error::Precondition { .. } => {
            Error::permanent(format!("{url} changed while the job was reading it: run the job again"))
        }
        _ if unreached::is_unreached(error) => {
            unreached::explained(Error::retry(format!("can't {verb} {url}")), error)
        }
        _ => Error::retry(format!("can't {verb} {url}")).because(cause),
    }
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
fn summarise(text: &str) -> (Option<&str>, String) {
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
            line.strip_prefix("Generic S3 error: ").unwrap_or(line).chars().take(400).collect()
        }
    };
    (code, cause)
}

#[cfg(test)]
mod tests {
    use super::explain;
    use crate::error::Kind;

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
        assert_eq!(error.kind(), Kind::Permanent);
    }

    #[test]
    fn refused_credentials_are_no_attempts_fault() {
        let text = "status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code></Error>";
        let error = explain("list", "s3://b/", "", &error(text));
        assert!(error.to_string().contains("credentials"), "{error}");
        assert_eq!(error.kind(), Kind::Permanent);
    }

    #[test]
    fn a_server_that_is_away_may_come_back() {
        let error = explain("read", "s3://b/", "k", &error("connection refused\nand much more"));
        assert_eq!(error.kind(), Kind::Retry);
        assert_eq!(error.causes(), ["connection refused"]);
    }
}
