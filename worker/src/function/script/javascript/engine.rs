//! The engine that runs one script.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rquickjs::context::EvalOptions;
use rquickjs::function::Opt;
use rquickjs::object::Property;
use rquickjs::{Array, Context, Ctx, Exception, Function, Object, Runtime, String as Text, Type, Value};

use super::super::wanted;
use super::exception::explained;
use super::host::{JsCall, JsHost, ask, lend};
use super::promises::Promises;
use super::text;
use crate::error::{Error, Result};
use crate::function::context::UserCounters;
use crate::function::last_resort::{LastResort, Watch};
use crate::function::role::Role;
use crate::function::watchdog::{MEMORY_BYTES, STACK_BYTES, Watchdog};

const PRELUDE: &str = include_str!("prelude.js");

/// The global that holds the functions of [`Calls`]. A script that meddles with it harms itself.
const FUNCTIONS: &str = "__mapreduce__";

/// A loaded script.
pub(super) struct Engine {
    context: Context,
    limits: Watchdog,
    _watch: Option<Watch>,
    /// Whether the last exception is one that every attempt would meet.
    permanent: Arc<AtomicBool>,
    promises: Promises,
    /// What messages call the script, as `the map script`.
    name: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Engine {
    /// Loads a script, and calls none of its functions yet. `print` takes what the script prints.
    pub(super) fn load(
        role: Role,
        file: &str,
        source: &str,
        limits: &Watchdog,
        last_resort: &LastResort,
        counters: &UserCounters,
        print: impl Fn(&str) + Send + 'static,
    ) -> Result<Self> {
        let name = format!("the {role} script");
        let watch = last_resort.watch(limits, &name)?;
        let cannot = |error: rquickjs::Error| {
            Error::retry(format!("can't start the JavaScript engine for {name}")).because(error)
        };
        let runtime = Runtime::new().map_err(cannot)?;
        runtime.set_memory_limit(MEMORY_BYTES);
        runtime.set_max_stack_size(STACK_BYTES);
        runtime.set_interrupt_handler(Some(Box::new(limits.watch())));
        let context = Context::full(&runtime).map_err(cannot)?;
        let promises = Promises::default();
        promises.track(&runtime, &name);
        let permanent = Arc::new(AtomicBool::new(false));
        context.with(|ctx| {
            let own = || {
                let emit = emit_function(&ctx, limits, &permanent, &promises)?;
                let counter = counter_function(&ctx, limits, counters)?;
                let values = prelude(&ctx, limits, print)?;
                ctx.globals().set("counter", counter.clone())?;
                // Before the script, which may freeze what is global.
                let functions = Array::new(ctx.clone())?;
                ctx.globals().prop(FUNCTIONS, Property::from(functions.clone()))?;
                Ok((functions, [emit, counter, values]))
            };
            // What was cancelled meanwhile is interrupted here too.
            let (functions, [emit, counter, values]) =
                own().map_err(|error| limits.check(&name).err().unwrap_or_else(|| cannot(error)))?;
            let thrown = |error| thrown(&ctx, limits, &name, &error);
            let mut options = EvalOptions::default();
            options.strict = false;
            options.filename = Some(file.to_owned());
            limits.inside(|| ctx.eval_with_options::<Value<'_>, _>(source, options)).map_err(|error| {
                let syntax = matches!(error, rquickjs::Error::Exception) && is_syntax_error(&ctx);
                let error = thrown(error);
                if syntax { error.permanently() } else { error }
            })?;
            promises.run(&ctx, limits, &name)?;
            let function = own_function(&ctx, wanted(role))
                .map_err(thrown)?
                .ok_or_else(|| Error::permanent(format!("the script has no function `{}`", wanted(role))))?;
            let teardown = own_function(&ctx, "teardown").map_err(thrown)?;
            let all = [function, emit, counter, values].into_iter().chain(teardown);
            all.enumerate().try_for_each(|(i, function)| functions.set(i, function)).map_err(cannot)
        })?;
        let limits = limits.clone();
        Ok(Self { context, limits, _watch: watch, permanent, promises, name })
    }

    /// Calls the script's `setup`, if it has one.
    pub(super) fn set_up(&self) -> Result<()> {
        let Self { limits, promises, name, .. } = self;
        self.context.with(|ctx| {
            let thrown = |error| thrown(&ctx, limits, name, &error);
            let Some(setup) = own_function(&ctx, "setup").map_err(thrown)? else { return Ok(()) };
            let returned = limits.inside(|| setup.call::<_, Value<'_>>(())).map_err(thrown)?;
            let done = match never_runs(&returned) {
                Some(what) => Err(Error::permanent(format!("setup of {name} returned {what}, {NEVER_RUNS}"))),
                None => Ok(()),
            };
            let ran = promises.run(&ctx, limits, name);
            done.and(ran)
        })
    }

    /// Says which object the records to come are of, where their offsets are offsets in it.
    pub(super) fn reads(&self, url: Option<&str>) {
        self.limits.reads(url);
    }

    /// Lends the functions that the script calls back what they reach, for the calls that `work` makes.
    pub(super) fn with<R>(
        &self,
        call: &mut JsCall<'_>,
        work: impl FnOnce(&Calls<'_, '_>) -> Result<R>,
    ) -> Result<R> {
        let done = self.context.with(|ctx| {
            let restored = || {
                let functions: Array<'_> = ctx.globals().get(FUNCTIONS)?;
                Ok(Calls {
                    engine: self,
                    function: functions.get(0)?,
                    emit: functions.get(1)?,
                    counter: functions.get(2)?,
                    values: functions.get(3)?,
                    teardown: functions.get(4)?,
                    ctx: ctx.clone(),
                })
            };
            let calls = restored().map_err(|error: rquickjs::Error| {
                Error::retry(format!("can't call {}", self.name)).because(error)
            })?;
            lend(call, || work(&calls))
        });
        // An error of ours in a call of the script's is why the script failed.
        match call.error.take() {
            Some(error) => Err(error),
            None => done,
        }
    }
}

/// The functions of a script, while they can be called.
pub(super) struct Calls<'e, 'js> {
    engine: &'e Engine,
    function: Function<'js>,
    emit: Function<'js>,
    counter: Function<'js>,
    values: Function<'js>,
    teardown: Option<Function<'js>>,
    ctx: Ctx<'js>,
}

impl Calls<'_, '_> {
    pub(super) fn map(&self, key: &str, value: &str) -> Result<()> {
        self.done((|| {
            let key = Text::from_str(self.ctx.clone(), key)?;
            let value = Text::from_str(self.ctx.clone(), value)?;
            let arguments = (key, value, self.emit.clone(), self.counter.clone());
            self.engine.limits.inside(|| self.function.call(arguments))
        })())
    }

    pub(super) fn reduce(&self, key: &str, group: u64) -> Result<()> {
        self.done((|| {
            let key = Text::from_str(self.ctx.clone(), key)?;
            let values: Object<'_> = self.values.call((group as f64,))?;
            let arguments = (key, values, self.emit.clone(), self.counter.clone());
            self.engine.limits.inside(|| self.function.call(arguments))
        })())
    }

    /// Says where the record at hand is.
    pub(super) fn at(&self, offset: u64) {
        self.engine.limits.at(offset);
    }

    fn done(&self, returned: rquickjs::Result<Value<'_>>) -> Result<()> {
        let Engine { limits, name, permanent, promises, .. } = self.engine;
        limits.step();
        let done = match returned {
            Ok(value) => nothing(&value, name),
            Err(error) => {
                let error = thrown(&self.ctx, limits, name, &error);
                // The record at hand is not to blame for what a script was stopped for.
                let error = if limits.is_stopping() { error } else { error.of_record() };
                Err(if permanent.swap(false, Ordering::Relaxed) { error.permanently() } else { error })
            }
        };
        let ran = promises.run(&self.ctx, limits, name);
        done.and(ran)
    }
}

/// Calls the script's `teardown`, if it has one.
pub(super) fn teardown(calls: &Calls<'_, '_>) -> Result<()> {
    match &calls.teardown {
        Some(teardown) => {
            let arguments = (calls.emit.clone(), calls.counter.clone());
            calls.done(calls.engine.limits.inside(|| teardown.call(arguments)))
        }
        None => Ok(()),
    }
}

const NEVER_RUNS: &str = "which would never run: call emit(key, value) instead";

/// A function gives its pairs to `emit`: what it returns would be lost.
fn nothing(returned: &Value<'_>, name: &str) -> Result<()> {
    let what = match returned.type_of() {
        Type::Undefined | Type::Null => return Ok(()),
        Type::Bool => "a truth value",
        Type::Int | Type::Float | Type::BigInt => "a number",
        Type::String => "a text",
        Type::Array => "an array",
        _ => match never_runs(returned) {
            Some(what) => {
                return Err(Error::permanent(format!("{name} returned {what}, {NEVER_RUNS}")).of_record());
            }
            None => "an object",
        },
    };
    let lost = "which nobody takes: call emit(key, value), and return nothing";
    Err(Error::permanent(format!("{name} returned {what}, {lost}")).of_record())
}

/// What a function returned that does its work only when somebody asks for it.
fn never_runs(value: &Value<'_>) -> Option<&'static str> {
    if value.is_promise() {
        return Some("a promise");
    }
    let tag: Option<String> = value
        .as_object()
        .and_then(|object| object.get(rquickjs::atom::PredefinedAtom::SymbolToStringTag).ok());
    match tag.as_deref() {
        Some("Generator") => Some("a generator"),
        Some("AsyncGenerator") => Some("an asynchronous generator"),
        _ => None,
    }
}

fn emit_function<'js>(
    ctx: &Ctx<'js>,
    limits: &Watchdog,
    permanent: &Arc<AtomicBool>,
    promises: &Promises,
) -> rquickjs::Result<Function<'js>> {
    let (limits, permanent, promises) = (limits.clone(), Arc::clone(permanent), promises.clone());
    let emit = move |ctx: Ctx<'js>, key: Opt<Value<'js>>, value: Opt<Value<'js>>, more: Opt<Value<'js>>| {
        limits.step();
        let undefined = || Value::new_undefined(ctx.clone());
        let (mut k, mut v) = (String::new(), String::new());
        text::push(&ctx, &key.0.unwrap_or_else(undefined), "key", &mut k)
            .and_then(|()| text::push(&ctx, &value.0.unwrap_or_else(undefined), "value", &mut v))
            .and_then(|()| match more.0.filter(|more| !more.is_undefined()) {
                None => Ok(()),
                Some(_) => Err(Exception::throw_type(&ctx, "emit takes a key and a value, and no more")),
            })
            .inspect_err(|_| permanent.store(true, Ordering::Relaxed))?;
        let taken = if promises.is_over() { None } else { limits.outside(|| ask(|host| host.emit(&k, &v))) };
        match taken {
            Some(true) => Ok(()),
            Some(false) => Err(stop(&ctx, &limits)),
            None => {
                promises.was_late();
                Err(Exception::throw_type(&ctx, "emit is there only while a key or a record is processed"))
            }
        }
    };
    Function::new(ctx.clone(), emit)?.with_name("emit")
}

fn counter_function<'js>(
    ctx: &Ctx<'js>,
    limits: &Watchdog,
    counters: &UserCounters,
) -> rquickjs::Result<Function<'js>> {
    let (limits, counters) = (limits.clone(), counters.clone());
    Function::new(
        ctx.clone(),
        move |ctx: Ctx<'js>,
              group: rquickjs::Coerced<String>,
              name: rquickjs::Coerced<String>,
              n: Opt<f64>| {
            limits.step();
            let n = n.0.unwrap_or(1.0);
            if n.fract() != 0.0 || !n.is_finite() {
                return Err(Exception::throw_type(&ctx, "a counter counts whole numbers"));
            }
            counters.count(&group.0, &name.0, n as i64);
            Ok(())
        },
    )?
    .with_name("counter")
}

/// Sets up what a script finds beside the language; gives the function that makes `values`.
fn prelude<'js>(
    ctx: &Ctx<'js>,
    limits: &Watchdog,
    print: impl Fn(&str) + Send + 'static,
) -> rquickjs::Result<Function<'js>> {
    let limits = limits.clone();
    let next = Function::new(ctx.clone(), move |ctx: Ctx<'js>, group: f64| {
        limits.step();
        let mut value = Ok(Value::new_undefined(ctx.clone()));
        let next = |host: &mut dyn JsHost| {
            host.next(group as u64, &mut |text| {
                value = Text::from_str(ctx.clone(), text).map(Text::into_value);
            })
        };
        let go_on = limits.outside(|| ask(next));
        if go_on == Some(false) { Err(stop(&ctx, &limits)) } else { value }
    })?;
    let print = Function::new(ctx.clone(), move |text: rquickjs::Coerced<String>| print(&text.0))?;
    let mut options = EvalOptions::default();
    options.filename = Some("<prelude>".to_owned());
    ctx.eval_with_options::<Function<'js>, _>(PRELUDE, options)?.call((next, print))
}

/// The script's own function with this name, however it was declared.
fn own_function<'js>(ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<Option<Function<'js>>> {
    let found: Value<'js> = ctx.eval(format!("typeof {name} === 'function' ? {name} : undefined"))?;
    Ok(found.into_function())
}

/// Ends the script because of an error of ours, which says more than the exception.
fn stop(ctx: &Ctx<'_>, limits: &Watchdog) -> rquickjs::Error {
    limits.stop();
    Exception::throw_internal(ctx, "stopped")
}

fn is_syntax_error(ctx: &Ctx<'_>) -> bool {
    let value = ctx.catch();
    let name: Option<String> = value.as_object().and_then(|object| object.get("name").ok());
    ctx.throw(value);
    name.as_deref() == Some("SyntaxError")
}

/// What a script has thrown, with the stack that its author knows.
fn thrown(ctx: &Ctx<'_>, limits: &Watchdog, name: &str, error: &rquickjs::Error) -> Error {
    if let Err(error) = limits.check(name) {
        return error;
    }
    if !matches!(error, rquickjs::Error::Exception) {
        return Error::retry(format!("{name} failed: {error}"));
    }
    explained(ctx, name, &ctx.catch())
}
