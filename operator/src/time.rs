//! Lengths of time in decisions.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;

/// The same as a difference of times; the longest that there is, where it is longer.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
