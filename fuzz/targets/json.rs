//! Members found by a pointer: those that serde_json finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_worker::record::json::{Path, check, find, plain};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = serde_json::from_str::<Value>(text);
    if parsed.is_ok() {
        assert!(check(text).is_ok());
    }
    for pointer in ["/a", "/a/b", "/a/0", "", "/~1/~0"] {
        let path = Path::pointer(pointer);
        let Ok([found]) = find(text, [&path]) else {
            assert!(parsed.is_err(), "there is JSON, but `{pointer}` is not looked for");
            continue;
        };
        let Ok(whole) = &parsed else { continue };
        let found = found.map(|json| serde_json::from_str::<Value>(json).expect("a member is JSON"));
        assert_eq!(found.as_ref(), whole.pointer(pointer), "{pointer}");
        if let Some(Value::String(expected)) = &found {
            let [Some(json)] = find(text, [&path]).expect("it was found before") else { return };
            assert_eq!(plain(json).expect("a string"), *expected);
        }
    }
});
