//! Every format's records: the same in one piece and cut anywhere, and whatever the bytes no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_fuzz::read;
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let [kind, first, second, content @ ..] = data else { return };
    let format = match kind % 10 {
        0 => json!({"type": "Lines"}),
        1 => json!({"type": "Lines", "lines": {"delimiter": "ab", "maxRecordBytes": 20}}),
        2 => json!({"type": "Lines", "lines": {"delimiter": "aa"}}),
        3 => json!({"type": "KeyValue", "keyValue": {"separator": "::"}}),
        4 => json!({"type": "FixedLength", "fixedLength": {"recordBytes": 7, "keyBytes": 3}}),
        5 => json!({"type": "JsonLines", "jsonLines": {"keyPointer": "/a/b"}}),
        6 => json!({"type": "JsonLines"}),
        7 => json!({"type": "Csv"}),
        8 => json!({"type": "Csv", "csv": {"header": false, "delimiter": ";", "keyColumn": "1"}}),
        _ => json!({"type": "WholeFile"}),
    };
    let (whole, result) = read(content, &format, &[]);
    // A row or a file is one task's, and so is what shows its delimiters only from its beginning.
    if matches!(kind % 10, 0 | 1 | 3..=6) {
        let (parts, cut) = read(content, &format, &[u64::from(*first), u64::from(*second)]);
        assert_eq!(cut.is_ok(), result.is_ok());
        if result.is_ok() {
            assert_eq!(parts, whole);
        }
    }
});
