//! `command`: a program that reads lines and writes lines, as with Hadoop Streaming.
//!
//! ```text
//!  map      value⏎                       ┐
//!           key TAB value⏎, after a step ┤
//!  combine  key TAB value⏎, by key       ├─ stdin ▸ program ▸ stdout ─ key TAB value⏎
//!  reduce   key TAB value⏎, by key       ┘
//! ```
//!
//! A map task runs it once for each object that it reads, a reduce task once for each partition, a
//! combiner once for each sorted run: what is combined has no end that a program could see but the
//! end of its input.

mod lines;
mod map;
mod reduce;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use mapreduce_api::v1alpha1::{Command, Variable, VariableValue};

use self::map::CommandMapper;
use self::reduce::CommandReducer;
use super::context::TaskContext;
use super::process::{ChildProcess, Program, ProgramKind, Remedies, check_names};
use super::role::Role;
use crate::error::{Error, Result};
use crate::machine::variables;
use crate::record::split::Split;
use crate::record::{MapOutput, Mapper, Reducer};

/// A checked command.
#[derive(Clone, Debug)]
pub struct CommandFunction(Arc<CheckedCommand>);

#[derive(Debug)]
struct CheckedCommand {
    role: Role,
    argv: Vec<String>,
    /// What messages show of it.
    shown: String,
    env: Vec<Variable>,
    files: BTreeMap<String, String>,
}

/// Bytes that are collected for a write.
const WRITE_BYTES: usize = 128 << 10;
/// Characters of a command that a message shows.
const SHOWN: usize = 60;

impl CommandFunction {
    /// The command of a manifest.
    pub fn new(command: &Command, role: Role) -> Result<Self> {
        let (argv, text) = match (&command.argv, &command.shell) {
            (Some(argv), None) if argv.first().is_some_and(|program| !program.is_empty()) => {
                (argv.clone(), argv.join(" "))
            }
            (Some(_), None) => return Err(Error::usage("command.argv names no program")),
            (None, Some(shell)) => {
                (vec!["/bin/sh".to_owned(), "-c".to_owned(), shell.clone()], shell.trim().to_owned())
            }
            _ => return Err(Error::usage("a command is exactly one of: argv, shell")),
        };
        let env = command.variables().map_err(|why| Error::usage(format!("command.env: {why}")))?;
        let values = env.iter().filter_map(|variable| match &variable.value {
            VariableValue::Text(text) => Some(text),
            VariableValue::From(_) => None,
        });
        let texts = argv.iter().chain(values);
        if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
            return Err(Error::usage(format!("command: `{}` holds a NUL", text.escape_debug())));
        }
        check_names(&command.files).map_err(|error| error.context_usage("command"))?;
        let line = text.lines().next().unwrap_or_default();
        let mut shown: String = line.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        let files = command.files.clone();
        Ok(Self(Arc::new(CheckedCommand { role, argv, shown, env, files })))
    }

    pub(super) fn mapper<O: MapOutput>(&self, context: &TaskContext) -> Box<dyn Mapper<O>> {
        Box::new(CommandMapper::new(self.clone(), context.clone()))
    }

    pub(super) fn reducer(&self, context: &TaskContext) -> Box<dyn Reducer> {
        Box::new(CommandReducer::new(self.clone(), context.clone()))
    }

    fn start(&self, context: &TaskContext, input: Option<&Split>) -> Result<ChildProcess> {
        let CheckedCommand { role, argv, shown, env, files } = &*self.0;
        let env: Vec<_> =
            env.iter().filter_map(|variable| Some((variable.name.clone(), value(variable)?))).collect();
        let program = Program {
            name: format!("the {role} command `{shown}`"),
            remedies: Remedies { kind: ProgramKind::Command, role: *role },
            argv,
            env: &env,
            files,
        };
        ChildProcess::start(&program, context, input)
    }
}

/// The value of a variable; none where an optional source has none.
fn value(variable: &Variable) -> Option<OsString> {
    match &variable.value {
        VariableValue::Text(text) => Some(text.into()),
        VariableValue::From(from) => variables::get(&Variable::pod_name(from)),
    }
}
