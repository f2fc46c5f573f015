//! What functions are for.

use std::fmt;

/// What a function is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `spec.map`
    Map,
    /// `spec.combine`
    Combine,
    /// `spec.reduce`
    Reduce,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Map => "map",
            Self::Combine => "combine",
            Self::Reduce => "reduce",
        })
    }
}
