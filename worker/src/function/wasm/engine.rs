//! The compiler, what components may take, and the pool that their instances are of.

use std::sync::OnceLock;
use std::time::Duration;

use wasmtime::component::{Component, InstancePre, Linker, WasmList};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, StoreContextMut, bail};

use super::host::ask;
use super::instance::{InstanceState, wanted};
use crate::error::{Error, Result};
use crate::function::role::Role;
use crate::function::watchdog::{MEMORY_BYTES, STACK_BYTES};
use crate::machine::{clock, threads};

/// Between two looks whether a component is to end.
const TICK: Duration = Duration::from_millis(50);
/// Instances at a time: three functions of each task. Address space is reserved for them, not memory.
const INSTANCES: u32 = 192;
/// The interface that components find.
const HOST: &str = "mapreduce:function/host@1.0.0";

/// What the hash maps of Rust and others begin with, in any of its versions.
const SEED: &str = "wasi:random/insecure-seed@";

/// A component that can be instantiated.
pub(super) struct Compiled(pub(super) InstancePre<InstanceState>);

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compiled")
    }
}

impl Compiled {
    /// Compiles a component. `name` says where it is from.
    pub(super) fn new(bytes: &[u8], name: &str, role: Role) -> Result<Self> {
        match bytes.first_chunk() {
            Some(b"\0asm\x0d\0\x01\0") => {}
            Some(b"\0asm\x01\0\0\0") => {
                return Err(Error::permanent(format!("{name} is a WebAssembly module and no component"))
                    .because(
                        "build it for wasm32-wasip2, or make a component of it: `wasm-tools component new`",
                    ));
            }
            _ => return Err(Error::permanent(format!("{name} is not a WebAssembly component"))),
        }
        let cannot = |error: wasmtime::Error| {
            Error::permanent(format!("{name} can't be compiled")).because(format!("{error:#}"))
        };
        let component = Component::new(engine()?, bytes).map_err(cannot)?;
        let wanted = wanted(role);
        if component.get_export_index(None, wanted).is_none() {
            return Err(Error::permanent(format!("{name} has no function `{wanted}`"))
                .because("what it has to export says worker/wit/function.wit"));
        }
        let mut linker = Linker::new(engine()?);
        add_host(&mut linker).map_err(cannot)?;
        let imports = component.component_type();
        let seeds = imports.imports(engine()?).map(|(name, _)| name).filter(|name| name.starts_with(SEED));
        seeds.into_iter().try_for_each(|name| add_seed(&mut linker, name)).map_err(cannot)?;
        linker.define_unknown_imports_as_traps(&component).map_err(cannot)?;
        linker.instantiate_pre(&component).map(Self).map_err(cannot)
    }
}
/// The engine of this process.
fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let cannot = |error: wasmtime::Error| {
        Error::retry("can't start the WebAssembly engine").because(format!("{error:#}"))
    };
    let made = Engine::new(&config()).map_err(cannot)?;
    // Of two that start one, one has the clock.
    Ok(ENGINE.get_or_init(|| {
        let ticking = made.clone();
        let tick = move || {
            loop {
                clock::sleep(TICK);
                ticking.increment_epoch();
            }
        };
        if let Err(error) = threads::detach("epochs", tick) {
            tracing::warn!(%error, "There is no thread for the time limits of WebAssembly.");
        }
        made
    }))
}

fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    // Components that rustc makes have one memory, and a second instance for their imports.
    pool.total_component_instances(INSTANCES)
        .total_core_instances(8 * INSTANCES)
        .total_memories(2 * INSTANCES)
        .total_tables(8 * INSTANCES)
        .max_memory_size(MEMORY_BYTES);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        // Attempts of a task have to agree, on whatever processor.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    config
}

/// The same seed each time: attempts of a task have to agree.
fn add_seed(linker: &mut Linker<InstanceState>, name: &str) -> wasmtime::Result<()> {
    linker.instance(name)?.func_wrap("insecure-seed", |_: StoreContextMut<'_, InstanceState>, (): ()| {
        Ok(((0x6d61_7072_6564_7563_u64, 0x6573_6565_6473_6565_u64),))
    })
}

fn add_host(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut host = linker.instance(HOST)?;
    host.func_wrap(
        "emit",
        |store: StoreContextMut<'_, InstanceState>, strings: (WasmList<u8>, WasmList<u32>)| {
            store.data().limits.step();
            let (bytes, ends) = (strings.0.as_le_slice(&store), strings.1.as_le_slice(&store));
            match ask(|host| host.emit(bytes, ends)) {
                Some(true) => Ok(()),
                Some(false) => bail!("stopped"),
                None => bail!("emit is there only while records or a key are processed"),
            }
        },
    )?;
    host.func_wrap("next-values", |store: StoreContextMut<'_, InstanceState>, (): ()| {
        store.data().limits.step();
        match ask(|host| host.next_values()) {
            Some(Some(values)) => Ok(((values.bytes, values.ends),)),
            Some(None) => bail!("stopped"),
            None => bail!("next-values is there only while a key is processed"),
        }
    })?;
    host.func_wrap(
        "counter",
        |store: StoreContextMut<'_, InstanceState>, (group, name, n): (String, String, i64)| {
            store.data().limits.step();
            store.data().counters.count(&group, &name, n);
            Ok(())
        },
    )?;
    host.func_wrap("log", |mut store: StoreContextMut<'_, InstanceState>, (line,): (String,)| {
        store.data_mut().log(line);
        Ok(())
    })
}
