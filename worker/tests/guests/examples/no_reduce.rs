//! A map function alone: records as they are.

wit_bindgen::generate!({ world: "mapper", path: "../../wit" });

struct NoReduce;

export!(NoReduce);

impl Guest for NoReduce {
    fn map(bytes: Vec<u8>, ends: Vec<u32>) -> Result<(), String> {
        mapreduce::function::host::emit(&bytes, &ends);
        Ok(())
    }

    fn teardown() -> Result<(), String> {
        Ok(())
    }
}
