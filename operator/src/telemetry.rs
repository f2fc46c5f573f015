//! The log, with a filter that can be changed while the operator runs.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::args::{Log, LogFormat};

/// Changes the log's filter.
#[derive(Clone, Debug)]
pub struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Takes a filter as `RUST_LOG` has it.
    pub fn set(&self, text: &str) -> anyhow::Result<()> {
        Ok(self.0.reload(EnvFilter::try_new(text)?)?)
    }
}

/// Starts the log of this process.
pub fn init(log: &Log) -> anyhow::Result<Filter> {
    let filter = EnvFilter::try_new(&log.log_filter)?;
    let (filter, handle) = reload::Layer::new(filter);
    let format = match log.log_format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            fmt::layer().with_ansi(colours).with_writer(std::io::stderr).boxed()
        }
        LogFormat::Json => fmt::layer().with_writer(std::io::stderr).json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(format).try_init()?;
    Ok(Filter(handle))
}
