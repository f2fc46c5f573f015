//! Orders of keys: the key is found again in what is stored, and two keys sort as two numbers do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_api::v1alpha1::KeySort;
use mapreduce_worker::shuffle::order::KeyOrder;
use serde_json::json;

fn stored(order: &KeyOrder, key: &[u8]) -> Vec<u8> {
    order.encoded_key(key, &mut Vec::new()).to_vec()
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(fields), Some(a), Some(b)) = (parts.next(), parts.next(), parts.next()) else { return };
    let Ok(fields) = std::str::from_utf8(fields) else { return };
    for sort in [
        json!({"keyFields": fields}),
        json!({"by": "Numeric"}),
        json!({"order": "Descending"}),
        json!({"by": "Numeric", "order": "Descending", "keyFields": fields}),
    ] {
        let sort: KeySort = serde_json::from_value(sort).expect("a sort");
        let Ok(order) = KeyOrder::new(&sort, b"\t") else { continue };
        for key in [a, b] {
            assert_eq!(order.key(&stored(&order, key)), key);
        }
        assert_eq!(stored(&order, a) == stored(&order, b), a == b);
    }
    let numeric: KeySort = serde_json::from_value(json!({"by": "Numeric"})).expect("a sort");
    let order = KeyOrder::new(&numeric, b"\t").expect("an order");
    let number = |key: &[u8]| std::str::from_utf8(key).ok()?.parse::<i64>().ok();
    if let (Some(x), Some(y)) = (number(a), number(b))
        && x != y
    {
        assert_eq!(stored(&order, a).cmp(&stored(&order, b)), x.cmp(&y));
    }
});
