//! What an answer says beside its content, and what it means that there is none.

use std::time::Duration;

use http::{HeaderName, StatusCode, header};
use object_store::client::HttpResponse;

use crate::machine::random;

/// The longest pause, whatever the server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Whether a server says that it may answer later.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Twice as long with each attempt, and never the same for many that failed at once.
pub(super) fn pause(first: Duration, attempt: u32) -> Duration {
    let pause = first.saturating_mul(1 << attempt.min(16)).min(LONGEST_PAUSE);
    pause / 2 + pause / 2000 * random::below(1000)
}

pub(super) fn retry_after(response: &HttpResponse) -> Option<Duration> {
    let seconds = header_of(response, header::RETRY_AFTER)?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

pub(super) fn header_of(response: &HttpResponse, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok().map(str::trim)
}

/// `bytes 5-9/100`, `bytes 5-9/*` or `bytes */100`.
pub(super) struct ContentRange {
    pub(super) start: Option<u64>,
    pub(super) size: Option<u64>,
}

impl ContentRange {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
        Some(Self {
            start: range.split_once('-').and_then(|(start, _)| start.trim().parse().ok()),
            size: size.trim().parse().ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ContentRange;

    #[test]
    fn a_content_range_says_where_it_begins_and_how_large_the_object_is() {
        for (text, start, size) in [
            ("bytes 5-9/100", Some(5), Some(100)),
            ("bytes 5-9/*", Some(5), None),
            ("bytes */100", None, Some(100)),
        ] {
            let range = ContentRange::parse(text).unwrap();
            assert_eq!((range.start, range.size), (start, size), "{text}");
        }
        assert!(ContentRange::parse("lines 5-9/100").is_none());
    }
}
