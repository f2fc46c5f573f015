//! Progress on stderr: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mapreduce_worker::job::Job;
use mapreduce_worker::job::local::RunProgress;

use crate::size;

/// A plain line is written when something has changed, but not more often than this.
const LINE_EVERY: Duration = Duration::from_secs(2);
const BAR_EVERY: Duration = Duration::from_millis(100);

/// Progress that is being shown, until its end.
pub(crate) struct Shown {
    thread: JoinHandle<()>,
    ended: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Clone, PartialEq)]
struct ProgressState {
    /// The step's name and number, of how many; nothing in a job without steps.
    step: String,
    maps: (u32, u32),
    reduces: (u32, u32),
    bytes: (u64, u64),
}

impl ProgressState {
    fn of(progress: &RunProgress, job: &Job) -> Self {
        let total = progress.input_bytes.load(Ordering::Relaxed);
        let load = |n: &std::sync::atomic::AtomicU32| n.load(Ordering::Relaxed);
        let number = load(&progress.step) as usize;
        let step = match job.name_of(number) {
            Some(name) => format!("step {name} ({} of {}): ", number + 1, job.step_count()),
            None => String::new(),
        };
        Self {
            step,
            maps: (load(&progress.maps_done), load(&progress.map_tasks)),
            reduces: (load(&progress.reduces_done), load(&progress.reduce_tasks)),
            // Splits overlap a little: what is read twice is not progress.
            bytes: (job.places().stores.bytes_read().min(total), total),
        }
    }

    fn line(&self) -> String {
        let Self { step, maps, reduces, bytes } = self;
        let reduces =
            if reduces.1 > 0 { format!(", reduce {}/{}", reduces.0, reduces.1) } else { String::new() };
        format!(
            "{step}map {}/{}{reduces}, {} of {} read",
            maps.0,
            maps.1,
            size::bytes(bytes.0),
            size::bytes(bytes.1)
        )
    }
}

impl Shown {
    pub(crate) fn start(progress: &Arc<RunProgress>, job: &Job) -> Self {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (progress, job, waits) = (Arc::clone(progress), job.at_step(0), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let state = || ProgressState::of(&progress, &job);
            let show = if std::io::stderr().is_terminal() { bar } else { lines };
            show(&job.run().name, &state, &waits);
        });
        Self { thread, ended }
    }

    pub(crate) fn end(self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
        let _ = self.thread.join();
    }
}

/// Waits; says whether it is the end.
fn wait(ended: &(Mutex<bool>, Condvar), time: Duration) -> bool {
    let guard = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = ended.1.wait_timeout_while(guard, time, |ended| !*ended);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

fn bar(name: &str, state: &dyn Fn() -> ProgressState, ended: &(Mutex<bool>, Condvar)) {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix} [{elapsed}] {wide_bar} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    while !wait(ended, BAR_EVERY) {
        let now = state();
        // Mapping is most of the work where there is a reduce phase, and all of it where there is none.
        let (reduced, to_reduce) = now.reduces;
        let share = now.bytes.1.checked_div(3 * u64::from(to_reduce.max(1))).unwrap_or_default();
        let reduce = if to_reduce > 0 { share } else { 0 };
        bar.set_length(now.bytes.1 + reduce * u64::from(to_reduce));
        bar.set_position(now.bytes.0 + reduce * u64::from(reduced));
        bar.set_message(now.line());
    }
    bar.finish_and_clear();
}

fn lines(name: &str, state: &dyn Fn() -> ProgressState, ended: &(Mutex<bool>, Condvar)) {
    let started = Instant::now();
    let mut shown: Option<ProgressState> = None;
    let say = |state: &ProgressState| {
        eprintln!("{name}: {} ({:.1} s)", state.line(), started.elapsed().as_secs_f64());
    };
    while !wait(ended, LINE_EVERY) {
        let now = state();
        if shown.as_ref() != Some(&now) && now.maps.1 > 0 {
            say(&now);
            shown = Some(now);
        }
    }
    let last = state();
    if shown.as_ref() != Some(&last) && last.maps.1 > 0 {
        say(&last);
    }
}
