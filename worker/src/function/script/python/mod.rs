//! Python: a process of `python3` runs the script for a task.
//!
//! Records go to it and pairs come back in batches, so that what a record costs is the function and
//! not the pipe; see `frame` for the messages, and `driver.py` for the other side.

mod frame;
mod map;
mod reduce;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::Deserialize;

use self::frame::{CAREFUL, FrameHeader, HEADER_BYTES, KEYS_SIZED, Texts, VALUES_SIZED, garbled};
pub(super) use self::map::PythonMapper;
pub(super) use self::reduce::PythonReducer;
use crate::error::{Error, MAX_LINE, MAX_TRACEBACK, Result, shortened};
use crate::function::context::{TaskContext, UserCounters};
use crate::function::process::{ChildProcess, Program, ProgramKind, Remedies, Take};
use crate::function::script::ScriptFunction;
use crate::record::Emit;
use crate::record::emit::emit_each;
use crate::record::key::Key;
use crate::record::skipped::Skipping;

const DRIVER: &str = include_str!("driver.py");
/// Batches whose records are remembered: more than pipes can hold.
const REMEMBERED: usize = 32;

/// A script that runs.
#[derive(Debug)]
pub(super) struct Python {
    process: ChildProcess,
    answers: Answers,
}

/// What is known of the process's answers.
#[derive(Debug)]
struct Answers {
    /// What messages call it, as `the map script`.
    name: String,
    counters: UserCounters,
    skipping: Option<Skipping>,
    /// Where the records of the last batches are.
    sent: VecDeque<Sent>,
    batches: u64,
    synced: bool,
    ended: bool,
}

/// The records of a batch.
#[derive(Debug)]
struct Sent {
    batch: u64,
    url: Arc<str>,
    offsets: Vec<u64>,
}

impl Python {
    pub(super) fn start(function: &ScriptFunction, context: &TaskContext) -> Result<Self> {
        let name = format!("the {} script", function.0.role);
        let source = function.source(context)?;
        let argv = ["python3", "-B", "-c", DRIVER].map(str::to_owned);
        // Sets are walked in the same order by every attempt, and texts are UTF-8 whatever the locale.
        let env = [("PYTHONHASHSEED", "0"), ("PYTHONUTF8", "1")].map(|(k, v)| (k.to_owned(), v.into()));
        let program = Program {
            name: name.clone(),
            remedies: Remedies { kind: ProgramKind::Python, role: function.0.role },
            argv: &argv,
            env: &env,
            files: &BTreeMap::new(),
        };
        let process = ChildProcess::start(&program, context, None)?;
        let counters = context.counters.clone();
        let answers = Answers {
            name,
            counters,
            skipping: context.skipping.clone(),
            sent: VecDeque::new(),
            batches: 0,
            synced: false,
            ended: false,
        };
        let mut python = Self { process, answers };
        let about = format!("{}\n{}", function.0.role, function.0.name);
        let flags = if context.skipping.is_some() { CAREFUL } else { 0 };
        let header = FrameHeader {
            kind: b'I',
            flags,
            keys: about.len() as u32,
            values: source.len() as u32,
            ..FrameHeader::default()
        };
        let mut message = Vec::with_capacity(HEADER_BYTES + about.len() + source.len());
        header.write(&mut message);
        message.extend_from_slice(about.as_bytes());
        message.extend_from_slice(source.as_bytes());
        python.write(&message, &mut Nobody)?;
        Ok(python)
    }

    /// Sends a batch of records, and emits what comes back meanwhile.
    pub(super) fn send_records(
        &mut self,
        message: &[u8],
        url: &Arc<str>,
        offsets: Vec<u64>,
        out: &mut dyn Emit,
    ) -> Result<()> {
        self.answers.batches += 1;
        self.answers.sent.truncate(REMEMBERED);
        self.answers.sent.push_front(Sent { batch: self.answers.batches, url: Arc::clone(url), offsets });
        self.write(message, out)
    }

    /// Sends a message, and emits what comes back meanwhile.
    pub(super) fn write(&mut self, message: &[u8], out: &mut dyn Emit) -> Result<()> {
        self.process.write(message, &mut ScriptFrames { answers: &mut self.answers, out })
    }

    /// Waits until all that was sent is answered. The script goes on.
    pub(super) fn sync(&mut self, out: &mut dyn Emit) -> Result<()> {
        let mut message = Vec::new();
        FrameHeader { kind: b'S', ..FrameHeader::default() }.write(&mut message);
        self.answers.synced = false;
        self.write(&message, out)?;
        self.process.read_until(&mut ScriptFrames { answers: &mut self.answers, out })?;
        if self.answers.synced { Ok(()) } else { Err(self.left()) }
    }

    /// Waits until all that was sent is answered, and for the end of the script.
    pub(super) fn end(mut self, out: &mut dyn Emit) -> Result<()> {
        let mut message = Vec::new();
        FrameHeader { kind: b'E', ..FrameHeader::default() }.write(&mut message);
        self.write(&message, out)?;
        self.process.end(&mut ScriptFrames { answers: &mut self.answers, out })?;
        if self.answers.ended { Ok(()) } else { Err(self.left()) }
    }

    fn left(&self) -> Error {
        let error = Error::retry(format!("{} ended before all records were processed", self.answers.name));
        self.process.with_last_words(error)
    }
}

/// Before there is a record nothing is emitted.
struct Nobody;

impl Emit for Nobody {
    fn emit(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Err(garbled())
    }
}

/// Does what the messages of a process say.
struct ScriptFrames<'a> {
    answers: &'a mut Answers,
    out: &'a mut dyn Emit,
}

impl Take for ScriptFrames<'_> {
    fn take(&mut self, bytes: &[u8], _seen: usize, _end: bool) -> Result<usize> {
        let mut taken = 0;
        while let Some(header) = FrameHeader::read(&bytes[taken..]) {
            let (keys, values) = (header.keys as usize, header.values as usize);
            let Some(payload) = bytes.get(taken + HEADER_BYTES..taken + HEADER_BYTES + keys + values) else {
                break;
            };
            self.message(header, &payload[..keys], &payload[keys..])?;
            taken += HEADER_BYTES + payload.len();
        }
        Ok(taken)
    }

    fn is_done(&self) -> bool {
        self.answers.synced
    }
}

impl ScriptFrames<'_> {
    fn message(&mut self, header: FrameHeader, keys: &[u8], values: &[u8]) -> Result<()> {
        match header.kind {
            b'P' => {
                let mut keys = Texts::new(keys, header.count, header.flags & KEYS_SIZED != 0)?;
                let mut values = Texts::new(values, header.count, header.flags & VALUES_SIZED != 0)?;
                emit_each((0..header.count).map(|_| Ok((keys.next()?, values.next()?))), self.out)
            }
            b'C' => {
                let counts: Vec<(String, String, i64)> =
                    serde_json::from_slice(values).map_err(|e| garbled().because(e))?;
                counts.iter().for_each(|(group, name, n)| self.answers.counters.count(group, name, *n));
                Ok(())
            }
            b'K' => self.answers.leave_out(keys, values),
            b'S' => {
                self.answers.synced = true;
                Ok(())
            }
            b'E' => {
                self.answers.ended = true;
                Ok(())
            }
            b'X' => Err(self.answers.failure(values)),
            _ => Err(garbled()),
        }
    }
}

/// What a script says of its failure.
#[derive(Debug, Deserialize)]
struct ScriptFailure {
    message: String,
    traceback: Option<String>,
    permanent: bool,
    batch: Option<u64>,
    record: Option<usize>,
    /// The beginning of the record.
    excerpt: Option<String>,
    /// Of a record that was left out.
    key: Option<String>,
}

impl Answers {
    /// Leaves out a record at which the script has failed.
    fn leave_out(&self, report: &[u8], value: &[u8]) -> Result<()> {
        let Ok(failure) = serde_json::from_slice::<ScriptFailure>(report) else { return Err(garbled()) };
        let error = self.failure(report).of_record();
        let key = failure.key.unwrap_or_default();
        match &self.skipping {
            Some(skipping) => skipping.leave_out_record(&error, Key::Bytes(key.as_bytes()), value),
            None => Err(error),
        }
    }

    fn failure(&self, report: &[u8]) -> Error {
        let Ok(failure) = serde_json::from_slice::<ScriptFailure>(report) else { return garbled() };
        let message = format!("{} failed: {}", self.name, shortened(failure.message, MAX_LINE));
        let error = if failure.permanent { Error::permanent(message) } else { Error::of_function(message) };
        let error = match failure.traceback {
            Some(traceback) => error.because(shortened(traceback, MAX_TRACEBACK)),
            None => error,
        };
        let sent = self.sent.iter().find(|sent| Some(sent.batch) == failure.batch);
        match sent.and_then(|sent| Some((&sent.url, sent.offsets.get(failure.record?)?))) {
            Some((url, &offset)) => {
                let error = error.about(url, offset);
                failure.excerpt.iter().fold(error, |error, text| error.showing(text.as_bytes()))
            }
            None => error,
        }
    }
}
