//! Why a task failed, and whether another attempt may do better.

use std::fmt;
use std::io;

use mapreduce_api::wire::{ErrorReport, RecordRef};

/// A failed plan, task or commit.
///
/// Displays as one line; `causes` say what led to it, outermost first.
#[derive(Clone, Debug, Default)]
pub struct Error {
    message: String,
    causes: Vec<String>,
    record: Option<RecordRef>,
    task: Option<String>,
    kind: ErrorKind,
    names_step: bool,
    /// Whether a record is at fault, so that the job can go on without it.
    bad_record: bool,
    /// Whether the user's function has failed by itself, and nothing around it.
    of_function: bool,
    /// Attempts that have failed; 0 where nobody has counted.
    attempts: u64,
}

/// What an error means for the attempts to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorKind {
    /// A store, a disk, a user's function: another attempt may do better.
    #[default]
    Retry,
    /// The data or the manifest is at fault: no attempt can do better.
    Permanent,
    /// The manifest alone shows the fault.
    Usage,
    /// A store was away for as long as the job waits for one: waiting more is for a person to decide.
    StoreUnavailable,
    /// Somebody has asked to stop.
    Cancelled,
}

/// The result of everything in the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure that another attempt may not meet.
    pub fn retry(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// A failure of the user's function: it has said so itself.
    pub fn of_function(message: impl Into<String>) -> Self {
        Self { of_function: true, ..Self::retry(message) }
    }

    /// A failure that every attempt would meet.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Permanent, ..Self::retry(message) }
    }

    /// A fault that the manifest alone shows.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Usage, ..Self::retry(message) }
    }

    /// Says that every attempt would meet it.
    #[must_use]
    pub fn permanently(mut self) -> Self {
        self.kind = ErrorKind::Permanent;
        self
    }

    /// Says, in another message, that a store was away for as long as the job waits.
    #[must_use]
    pub fn store_unavailable(self, message: String) -> Self {
        Self { kind: ErrorKind::StoreUnavailable, message, ..self }
    }

    /// The end of work that nobody wants any more.
    pub fn cancelled() -> Self {
        Self { kind: ErrorKind::Cancelled, ..Self::retry("cancelled") }
    }

    /// A record that can't be processed.
    pub fn bad_record(reason: impl Into<String>, url: &str, offset: u64) -> Self {
        let reason = reason.into();
        Self {
            record: Some(RecordRef { url: url.to_owned(), offset }),
            bad_record: true,
            ..Self::permanent(format!("bad record in {url} at byte {offset}: {reason}"))
        }
    }

    /// Adds a cause below the ones that are there.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Puts a line above: the old line becomes the first cause.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let inner = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, inner);
        self
    }

    /// Names the manifest's field that a usage error is about.
    #[must_use]
    pub fn context_usage(mut self, path: &str) -> Self {
        self.message = format!("{path}: {}", self.message);
        self
    }

    /// Says which record is at fault.
    #[must_use]
    pub fn at(mut self, url: &str, offset: u64) -> Self {
        self.message = format!("bad record in {url} at byte {offset}: {}", self.message);
        self.about(url, offset).of_record()
    }

    /// Corrects where a record of an object is, whose offset was counted from `base`.
    #[must_use]
    pub(crate) fn counted_from(mut self, base: u64) -> Self {
        if let Some(record) = &mut self.record {
            let (old, new) = (record.offset, record.offset + base);
            let (from, to) = (format!("at byte {old}:"), format!("at byte {new}:"));
            self.message = self.message.replacen(&from, &to, 1);
            self.causes.iter_mut().for_each(|cause| *cause = cause.replacen(&from, &to, 1));
            record.offset = new;
        }
        self
    }

    /// The object that a bad record is of.
    pub(crate) fn record_url(&self) -> Option<&str> {
        self.record.as_ref().map(|record| record.url.as_str())
    }

    /// Says which record was being processed.
    #[must_use]
    pub fn about(mut self, url: &str, offset: u64) -> Self {
        self.record = Some(RecordRef { url: url.to_owned(), offset });
        self
    }

    /// Shows the record that it is about, and where that is when the message doesn't say.
    #[must_use]
    pub(crate) fn showing(mut self, text: &[u8]) -> Self {
        let place = match &self.record {
            Some(record) if !self.message.starts_with("bad record in ") => {
                format!("in {} at byte {}", record.url, record.offset)
            }
            _ => "the record".to_owned(),
        };
        self.causes.insert(0, format!("{place}: `{}`", excerpt(text)));
        self
    }

    /// Says that a record is at fault: a job may go on without it.
    #[must_use]
    pub fn of_record(mut self) -> Self {
        self.bad_record = true;
        self
    }

    /// Whether a record is at fault.
    pub fn is_bad_record(&self) -> bool {
        self.bad_record
    }

    /// Says which task failed, where that isn't said yet.
    #[must_use]
    pub fn in_task(mut self, task: impl fmt::Display) -> Self {
        self.task.get_or_insert_with(|| task.to_string());
        self
    }

    /// Says which step of a job of several failed, where that isn't said yet.
    #[must_use]
    pub fn in_step(mut self, step: Option<&str>) -> Self {
        let is_said = std::mem::replace(&mut self.names_step, true);
        if let Some(step) = step.filter(|_| self.kind != ErrorKind::Cancelled && !is_said) {
            self.message = format!("step {step}: {}", self.message);
        }
        self
    }

    /// Says which of the manifest's steps a usage error is about: what checks a step knows it as `spec`.
    #[must_use]
    pub(crate) fn below(mut self, path: &str) -> Self {
        if let Some(rest) = self.message.strip_prefix("spec.").filter(|_| path != "spec") {
            self.message = format!("{path}.{rest}");
        }
        self
    }

    /// What the error means for the attempts to come.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether another attempt may do better.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Retry
    }

    /// Says how many attempts have failed.
    #[must_use]
    pub fn after_attempts(mut self, attempts: u64) -> Self {
        self.attempts = attempts;
        self
    }

    /// Whether it is the user's function that has failed.
    pub fn is_of_function(&self) -> bool {
        self.of_function
    }

    /// Whether it is the same failure, at the same record: then it is there to stay.
    pub fn recurs(&self, before: &Self) -> bool {
        self.record.is_some()
            && (&self.record, &self.message, &self.causes)
                == (&before.record, &before.message, &before.causes)
    }

    /// What led to it, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// The same for a log, whose format may escape a text once and a list of texts twice.
    pub fn causes_text(&self) -> String {
        self.causes.join("\n")
    }

    /// Which task it is of, and at which attempt the task failed for good, where that is known.
    pub fn whereabouts(&self) -> Option<String> {
        let task = self.task.as_ref()?;
        let attempt = match self.attempts {
            0 => String::new(),
            attempts => format!(", attempt {attempts}"),
        };
        Some(format!("task {task}{attempt}"))
    }

    /// As a pod and `--json` report it.
    pub fn report(&self) -> ErrorReport {
        ErrorReport {
            message: self.message.clone(),
            causes: self.causes.clone(),
            task: self.task.clone(),
            record: self.record.clone(),
            permanent: !matches!(self.kind, ErrorKind::Retry | ErrorKind::Cancelled),
            attempts: self.attempts,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        // A reader below a decoder or a `Read` chain hands our own error through io::Error.
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::retry(error.to_string()),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Bytes of a record that an error shows.
const SHOWN: usize = 100;

/// The beginning of a text, on one line: what can't be printed is escaped.
pub(crate) fn excerpt(text: &[u8]) -> String {
    let cut = &text[..text.len().min(SHOWN)];
    let mut shown = String::new();
    let mut chunks = cut.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        for c in chunk.valid().chars() {
            if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
        }
        // Bytes of a character that was cut aren't wrong.
        if cut.len() == text.len() || chunks.peek().is_some() {
            shown.push_str(&chunk.invalid().escape_ascii().to_string());
        }
    }
    if cut.len() < text.len() { shown + "…" } else { shown }
}

/// A user's words, of which there may be too many for an error.
pub(crate) fn shortened(mut words: String, most: usize) -> String {
    if words.len() > most {
        let left_out = words.len() - most;
        words.truncate(words.floor_char_boundary(most));
        words.push_str(&format!("… ({left_out} bytes more)"));
    }
    words
}

/// Most bytes of the line that says why a function failed, and of its traceback.
pub(crate) const MAX_LINE: usize = 4 << 10;
pub(crate) const MAX_TRACEBACK: usize = 64 << 10;

/// Adds a line above an I/O error.
pub(crate) trait IoContext<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::from(error).context(message()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind, excerpt, shortened};

    #[test]
    fn an_error_survives_the_way_through_a_reader() {
        let inner = Error::bad_record("too long", "s3://b/k", 7);
        let outer = Error::from(std::io::Error::from(inner));
        assert_eq!(outer.kind(), ErrorKind::Permanent);
        assert_eq!(outer.report().record.unwrap().offset, 7);
    }

    #[test]
    fn a_record_is_shown_on_one_line_and_not_whole() {
        let cases: [(&[u8], &str); 4] =
            [(b"a\tb\n", "a\\tb\\n"), (b"\xff\x00x", "\\xff\\u{0}x"), ("é".as_bytes(), "é"), (b"", "")];
        for (text, shown) in cases {
            assert_eq!(excerpt(text), shown);
        }
        let long = "é".repeat(300);
        assert_eq!(excerpt(&long.as_bytes()[1..]), format!("\\xa9{}…", "é".repeat(49)));
        assert_eq!(shortened("éé".into(), 3), "é… (1 bytes more)");
        assert_eq!(shortened("éé".into(), 4), "éé");
    }

    #[test]
    fn where_a_record_is_gets_said_once() {
        let scripts =
            Error::retry("the map script failed").about("s3://b/k", 7).showing(b"x").counted_from(10);
        assert_eq!(scripts.causes(), ["in s3://b/k at byte 17: `x`"]);
        assert_eq!(Error::bad_record("too long", "s3://b/k", 7).showing(b"x").causes(), ["the record: `x`"]);
    }

    #[test]
    fn context_goes_above_and_causes_go_below() {
        let error = Error::retry("connection refused").context("can't list s3://b/").because("is it up?");
        assert_eq!(error.to_string(), "can't list s3://b/");
        assert_eq!(error.causes(), ["connection refused", "is it up?"]);
    }
}
