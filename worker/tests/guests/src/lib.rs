//! What the functions in `examples/` share: a [`Program`] is written record by record and key by key.

#[path = "../../../../examples/wasm/rust/src/pairs.rs"]
mod pairs;

pub use bindings::{export, mapreduce};
pub use pairs::{Pairs, Values};

pub mod bindings {
    wit_bindgen::generate!({
        world: "mapper-and-reducer",
        path: "../../wit",
        pub_export_macro: true,
        default_bindings_module: "mapreduce_guests::bindings",
    });
}

/// An error is that of the record, or of the key.
pub type Outcome = Result<(), String>;

/// A map and a reduce function; what one doesn't say is done by the identity.
pub trait Program {
    fn map(key: &[u8], value: &[u8], out: &mut Pairs) -> Outcome {
        out.push(key, value);
        Ok(())
    }

    fn reduce(key: &[u8], values: &mut Values, out: &mut Pairs) -> Outcome {
        while let Some(value) = values.next_value() {
            out.push(key, value);
        }
        Ok(())
    }

    fn teardown(_: &mut Pairs) -> Outcome {
        Ok(())
    }
}

impl<P: Program> bindings::Guest for P {
    fn map(bytes: Vec<u8>, ends: Vec<u32>) -> Outcome {
        pairs::log_panics();
        let mut out = Pairs::default();
        pairs::records(&bytes, &ends).try_for_each(|(key, value)| P::map(key, value, &mut out))
    }

    fn reduce(key: Vec<u8>, bytes: Vec<u8>, ends: Vec<u32>, more: bool) -> Outcome {
        pairs::log_panics();
        P::reduce(&key, &mut Values::new(bytes, ends, more), &mut Pairs::default())
    }

    fn teardown() -> Outcome {
        pairs::log_panics();
        P::teardown(&mut Pairs::default())
    }
}

/// The text of a byte string.
pub fn text(bytes: &[u8]) -> Result<&str, String> {
    str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// The number that a byte string is.
pub fn number(bytes: &[u8]) -> Result<i64, String> {
    let text = text(bytes)?;
    text.parse().map_err(|_| format!("{text:?} is not a number"))
}
