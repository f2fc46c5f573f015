//! The stores that are away, told to whoever wants to know while requests wait for them: a pod's readiness, say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The stores of a process that are away.
pub struct AwayStores {
    /// Since when and why, by store.
    lines: Mutex<BTreeMap<String, String>>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Default for AwayStores {
    /// Nobody wants to know.
    fn default() -> Self {
        Self::told_to(|_| ())
    }
}

impl fmt::Debug for AwayStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwayStores").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl AwayStores {
    /// Whenever one goes away or is back, `tell` hears of all that are away, in a line; with none it is empty.
    pub fn told_to(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { lines: Mutex::default(), tell: Box::new(tell) }
    }

    /// A store is away.
    pub(super) fn add(&self, store: &str, since: &str, cause: &str) {
        self.change(|lines| {
            lines.insert(store.to_owned(), format!("{store} since {since}: {cause}"));
        });
    }

    /// A store is back.
    pub(super) fn remove(&self, store: &str) {
        self.change(|lines| {
            lines.remove(store);
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut lines);
        let all: Vec<&str> = lines.values().map(String::as_str).collect();
        // Under the lock: what is told last is what is so.
        (self.tell)(&all.join("; "));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::AwayStores;

    #[test]
    fn whoever_wants_to_know_hears_of_all_stores_that_are_away() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let away = AwayStores::told_to(move |all| hears.lock().unwrap().push(all.to_owned()));
        away.add("s3://b/", "16:05:03 UTC", "the connection was refused");
        away.add("http://h/", "16:05:04 UTC", "it does not answer");
        away.remove("s3://b/");
        away.remove("http://h/");
        let (s3, http) = (
            "s3://b/ since 16:05:03 UTC: the connection was refused",
            "http://h/ since 16:05:04 UTC: it does not answer",
        );
        assert_eq!(*told.lock().unwrap(), [s3, &format!("{http}; {s3}"), http, ""]);
    }
}
