//! What a user's process writes on its standard error: the reporter's lines are for us, the rest
//! goes to our own standard error, and its end into the error if the process fails.

use std::io::{self, Read as _, Write as _};
use std::process::ChildStderr;

use crate::function::context::UserCounters;

/// Bytes of it that an error shows.
const TAIL_BYTES: usize = 4096;
/// A longer line is passed on in pieces.
const LINE_BYTES: usize = 64 << 10;

/// The standard error of a process.
#[derive(Debug)]
pub(super) struct Stderr {
    pipe: Option<ChildStderr>,
    counters: UserCounters,
    /// The line that isn't whole yet.
    line: Vec<u8>,
    block: Vec<u8>,
    tail: Vec<u8>,
}

impl Stderr {
    pub(super) fn new(pipe: Option<ChildStderr>, counters: UserCounters) -> Self {
        Self { pipe, counters, line: Vec::new(), block: vec![0; LINE_BYTES], tail: Vec::new() }
    }

    pub(super) fn pipe(&self) -> Option<&ChildStderr> {
        self.pipe.as_ref()
    }

    /// Reads once, without waiting. Says whether there was something.
    pub(super) fn read(&mut self, progress: &mut bool) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        match pipe.read(&mut self.block) {
            Ok(0) => {
                self.pipe = None;
                Ok(false)
            }
            Ok(read) => {
                *progress |= self.take(read);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(e) => Err(e),
        }
    }

    /// Takes the first bytes of the block. Says whether a reporter's line was among them.
    fn take(&mut self, read: usize) -> bool {
        let mut reported = false;
        let block = std::mem::take(&mut self.block);
        let mut passed = Vec::new();
        let mut rest = &block[..read];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line.extend_from_slice(&rest[..=end]);
            rest = &rest[end + 1..];
            reported |= self.end_line(&mut passed);
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > LINE_BYTES {
            reported |= self.end_line(&mut passed);
        }
        self.block = block;
        self.pass(&passed);
        reported
    }

    /// The process has ended: its last line may have no end.
    pub(super) fn end(&mut self) {
        let mut passed = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut passed);
        }
        self.pass(&passed);
    }

    fn end_line(&mut self, passed: &mut Vec<u8>) -> bool {
        let line = std::mem::take(&mut self.line);
        let reported = self.report(&line);
        if !reported {
            passed.extend_from_slice(&line);
        }
        self.line = line;
        self.line.clear();
        reported
    }

    /// Does what a reporter's line asks; other lines are none.
    fn report(&self, line: &[u8]) -> bool {
        let Some(order) = line.strip_prefix(b"reporter:").and_then(|order| std::str::from_utf8(order).ok())
        else {
            return false;
        };
        let order = order.trim_end();
        if let Some(status) = order.strip_prefix("status:") {
            tracing::info!(status, "A function reports.");
            return true;
        }
        let Some(counter) = order.strip_prefix("counter:") else { return false };
        let Some(((group, rest), n)) = counter.split_once(',').and_then(|(group, rest)| {
            let (name, n) = rest.rsplit_once(',')?;
            Some(((group, name), n.trim().parse().ok()?))
        }) else {
            return false;
        };
        self.counters.count(group, rest, n);
        true
    }

    fn pass(&mut self, passed: &[u8]) {
        if passed.is_empty() {
            return;
        }
        // Nobody may be listening there.
        let _ = io::stderr().lock().write_all(passed);
        self.tail.extend_from_slice(&passed[passed.len().saturating_sub(TAIL_BYTES)..]);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// The last it said, as text.
    pub(super) fn last_words(&self) -> Option<String> {
        let mut tail = &self.tail[..];
        // Of a character that was cut there are only bytes that begin none.
        while tail.len() + 4 > TAIL_BYTES && tail.first().is_some_and(|byte| byte & 0xc0 == 0x80) {
            tail = &tail[1..];
        }
        let text = String::from_utf8_lossy(tail);
        let text = text.trim_end();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use mapreduce_api::wire::Counters;

    use super::{LINE_BYTES, Stderr, TAIL_BYTES, UserCounters};

    fn stderr() -> Stderr {
        Stderr::new(None, UserCounters::default())
    }

    fn say(stderr: &mut Stderr, text: &str) -> bool {
        stderr.block[..text.len()].copy_from_slice(text.as_bytes());
        stderr.take(text.len())
    }

    #[test]
    fn reporters_lines_are_counted_wherever_the_pipe_cuts_them() {
        let mut stderr = stderr();
        assert!(!say(&mut stderr, "hello\nreporter:coun"));
        assert!(say(&mut stderr, "ter:words,long, ones,4\nreporter:counter:words,short,-1\n"));
        assert!(say(&mut stderr, "reporter:status:half way\n"));
        assert!(!say(&mut stderr, "reporter:counter:words,many\n"), "that has no number");
        say(&mut stderr, "reporter:counter:words,short,3");
        stderr.end();
        let mut counted = Counters::default();
        stderr.counters.move_to(&mut counted).unwrap();
        assert_eq!(
            serde_json::to_value(&counted.user).unwrap(),
            serde_json::json!({"words": {"long, ones": 4, "short": 2}})
        );
        assert_eq!(stderr.last_words().unwrap(), "hello\nreporter:counter:words,many");
    }

    #[test]
    fn the_last_words_are_few_and_whole_characters() {
        let mut stderr = stderr();
        for _ in 0..10 {
            say(&mut stderr, &"é".repeat(LINE_BYTES / 2));
        }
        say(&mut stderr, "x");
        stderr.end();
        let words = stderr.last_words().unwrap();
        assert!(words.len() <= TAIL_BYTES && words.starts_with('é') && words.ends_with("éx"), "{words}");
    }
}
