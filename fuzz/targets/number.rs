//! Numbers as the standard library reads them, and sums that don't depend on the order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mapreduce_worker::record::number::{ExactSum, Number};

fn sum<'a>(numbers: impl Iterator<Item = &'a Number>) -> Option<Vec<u8>> {
    let (mut sum, mut text) = (ExactSum::default(), Vec::new());
    numbers.for_each(|number| sum.add(*number));
    sum.text(&mut text).ok().map(|()| text)
}

fuzz_target!(|data: &[u8]| {
    let mut numbers = Vec::new();
    for text in data.split(|byte| *byte == b'\n') {
        let Some(number) = Number::parse(text) else { continue };
        let text = std::str::from_utf8(text).expect("a number is ASCII").trim();
        match number {
            Number::Integer(n) => assert_eq!(text.parse(), Ok(n)),
            Number::Double(n) => assert_eq!(text.parse(), Ok(n)),
        }
        numbers.push(number);
    }
    let forth = sum(numbers.iter());
    assert_eq!(forth, sum(numbers.iter().rev()));
    let integers: Option<Vec<i128>> =
        numbers.iter().map(|n| if let Number::Integer(n) = n { Some(*n) } else { None }).collect();
    if let Some(total) = integers.and_then(|all| all.into_iter().try_fold(0i128, i128::checked_add)) {
        assert_eq!(forth, Some(total.to_string().into_bytes()));
    }
    numbers.sort_by(|a, b| a.compare(*b));
    assert!(numbers.windows(2).all(|pair| pair[0].compare(pair[1]).is_le()));
});
