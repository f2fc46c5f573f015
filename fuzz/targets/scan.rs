//! Groups that the scanner finds: those of the regex.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_worker::fuzzing::scan;
use regex::bytes::RegexBuilder;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let Ok(pattern) = std::str::from_utf8(&data[..end]) else { return };
    if pattern.len() > 60 {
        return;
    }
    let Ok(regex) = RegexBuilder::new(pattern).size_limit(1 << 20).build() else { return };
    for text in data[end + 1..].split(|byte| *byte == b'\n') {
        let Some(found) = scan(&regex, text) else { continue };
        let captures = regex.captures(text).map(|captures| {
            let group = |i| captures.get(i).map_or(Vec::new(), |group| group.as_bytes().to_vec());
            (1..captures.len()).map(group).collect::<Vec<_>>()
        });
        assert_eq!(found, captures, "{pattern} in {text:?}");
    }
});
