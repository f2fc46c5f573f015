//! What could not be read of the cluster.

/// What could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {what}: {source}")]
pub struct ReadError {
    what: &'static str,
    source: Box<kube::Error>,
}

impl ReadError {
    /// One word for metrics.
    pub fn category(&self) -> &'static str {
        self.what
    }
}

pub(super) fn reading(what: &'static str) -> impl Fn(kube::Error) -> ReadError {
    move |source| ReadError { what, source: Box::new(source) }
}
