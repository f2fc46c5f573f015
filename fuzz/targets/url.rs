//! URLs and globs: taken or refused with a message that shows them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_api::v1alpha1::Input;
use mapreduce_worker::input::list::check_urls;
use mapreduce_worker::storage::{parse_url, parse_writable_url};
use serde_json::json;

fuzz_target!(|data: &[u8]| {
    let Ok(url) = std::str::from_utf8(data) else { return };
    let input: Input = serde_json::from_value(json!({"urls": [url]})).expect("an input");
    let checked = check_urls(&input);
    match parse_url(url) {
        Ok((_, rest)) => assert!(url.ends_with(rest)),
        Err(error) => {
            assert!(checked.is_err());
            assert!(error.to_string().contains(url), "{error}");
        }
    }
    if parse_writable_url(url).is_ok() {
        assert!(parse_url(url).is_ok());
    }
});
