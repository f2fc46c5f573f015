//! A reduce function alone: each key, with the first of its values.

wit_bindgen::generate!({ world: "reducer", path: "../../wit" });

struct NoMap;

export!(NoMap);

impl Guest for NoMap {
    fn reduce(key: Vec<u8>, bytes: Vec<u8>, ends: Vec<u32>, _: bool) -> Result<(), String> {
        let first = ends.first().ok_or("a key without a value")?;
        let key_end = key.len() as u32;
        let pair = [&key[..], &bytes[..*first as usize]].concat();
        mapreduce::function::host::emit(&pair, &[key_end, key_end + first]);
        Ok(())
    }

    fn teardown() -> Result<(), String> {
        Ok(())
    }
}
