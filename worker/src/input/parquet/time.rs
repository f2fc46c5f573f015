//! Dates, times and durations as ISO 8601 writes them.

use std::io::Write as _;

const SECONDS_A_DAY: i64 = 86_400;
/// The Julian day of 1 January 1970.
const JULIAN_EPOCH: i64 = 2_440_588;
const NANOS_A_DAY: i64 = SECONDS_A_DAY * 1_000_000_000;

/// A point in time, counted from 1970 on.
pub(super) fn push_timestamp(out: &mut Vec<u8>, count: i64, a_second: i64) {
    let (seconds, fraction) = (count.div_euclid(a_second), count.rem_euclid(a_second));
    push_date(out, seconds.div_euclid(SECONDS_A_DAY));
    out.push(b'T');
    push_clock(out, seconds.rem_euclid(SECONDS_A_DAY), fraction, a_second);
}

/// A point in time as a Julian day and nanoseconds of it.
pub(super) fn push_julian(out: &mut Vec<u8>, day: i32, nanos: i64) {
    push_date(out, i64::from(day) - JULIAN_EPOCH + nanos.div_euclid(NANOS_A_DAY));
    out.push(b'T');
    let nanos = nanos.rem_euclid(NANOS_A_DAY);
    push_clock(out, nanos / 1_000_000_000, nanos % 1_000_000_000, 1_000_000_000);
}

/// A time of day; false where it is none. The last one is 24:00:00.
pub(super) fn push_time(out: &mut Vec<u8>, count: i64, a_second: i64) -> bool {
    if !(0..=SECONDS_A_DAY * a_second).contains(&count) {
        return false;
    }
    push_clock(out, count / a_second, count % a_second, a_second);
    true
}

/// `hh:mm:ss`, and the fraction where there is one: in 3, 6 or 9 digits.
fn push_clock(out: &mut Vec<u8>, seconds: i64, fraction: i64, a_second: i64) {
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    push_fraction(out, fraction, a_second);
}

fn push_fraction(out: &mut Vec<u8>, fraction: i64, a_second: i64) {
    let nanos = fraction * (1_000_000_000 / a_second);
    let _ = match nanos {
        0 => Ok(()),
        _ if nanos % 1_000_000 == 0 => write!(out, ".{:03}", nanos / 1_000_000),
        _ if nanos % 1000 == 0 => write!(out, ".{:06}", nanos / 1000),
        _ => write!(out, ".{nanos:09}"),
    };
}

/// The date that is a number of days after 1 January 1970, in the Gregorian calendar.
pub(super) fn push_date(out: &mut Vec<u8>, days: i64) {
    // Years begin in March, so that a leap day is the last of its year; 400 of them have 146,097 days.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    // A year of other than four digits has a sign.
    let _ = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{year:+05}-{month:02}-{day:02}"),
    };
}

/// Months, days and milliseconds as a duration: `P1M2DT3.004S`.
pub(super) fn push_interval(out: &mut Vec<u8>, months: u32, days: u32, millis: u32) {
    out.push(b'P');
    for (number, unit) in [(months, 'M'), (days, 'D')] {
        if number > 0 {
            let _ = write!(out, "{number}{unit}");
        }
    }
    if millis > 0 || (months == 0 && days == 0) {
        let _ = write!(out, "T{}", millis / 1000);
        push_fraction(out, i64::from(millis % 1000), 1000);
        out.push(b'S');
    }
}

#[cfg(test)]
mod tests {
    use super::{push_date, push_interval, push_julian, push_time, push_timestamp};

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_date_is_the_gregorian_one() {
        for (days, date) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_787, "2026-11-30"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "+10000-01-01"),
            (i64::from(i32::MAX), "+5881580-07-11"),
        ] {
            assert_eq!(text(|out| push_date(out, days)), date, "{days}");
        }
    }

    #[test]
    fn a_time_has_all_its_digits_and_none_behind_a_whole_second() {
        for (count, a_second, time) in [
            (3_723_004, 1000, "01:02:03.004"),
            (500_000, 1_000_000, "00:00:00.500"),
            (500_001, 1_000_000, "00:00:00.500001"),
            (1, 1_000_000_000, "00:00:00.000000001"),
            (86_400_000, 1000, "24:00:00"),
            (0, 1000, "00:00:00"),
        ] {
            assert_eq!(text(|out| assert!(push_time(out, count, a_second))), time);
        }
        assert!(!push_time(&mut Vec::new(), -1, 1000) && !push_time(&mut Vec::new(), 86_400_001, 1000));
    }

    #[test]
    fn a_timestamp_is_exact_at_both_ends_of_its_range() {
        for (count, a_second, time) in [
            (1_790_812_802_000, 1000, "2026-10-01T00:00:02"),
            (-1, 1_000_000, "1969-12-31T23:59:59.999999"),
            (1_600_000_000_123_456_789, 1_000_000_000, "2020-09-13T12:26:40.123456789"),
            (i64::MIN, 1_000_000_000, "1677-09-21T00:12:43.145224192"),
            (i64::MAX, 1_000_000_000, "2262-04-11T23:47:16.854775807"),
            (i64::MAX, 1000, "+292278994-08-17T07:12:55.807"),
        ] {
            assert_eq!(text(|out| push_timestamp(out, count, a_second)), time);
        }
        assert_eq!(text(|out| push_julian(out, 2_440_588, 1)), "1970-01-01T00:00:00.000000001");
        assert_eq!(text(|out| push_julian(out, 2_440_589, -1)), "1970-01-01T23:59:59.999999999");
        let _ = (
            text(|out| push_julian(out, i32::MIN, i64::MIN)),
            text(|out| push_julian(out, i32::MAX, i64::MAX)),
        );
    }

    #[test]
    fn an_interval_is_a_duration() {
        for (months, days, millis, duration) in
            [(0, 0, 0, "PT0S"), (1, 2, 3004, "P1M2DT3.004S"), (14, 0, 0, "P14M"), (0, 1, 60_000, "P1DT60S")]
        {
            assert_eq!(text(|out| push_interval(out, months, days, millis)), duration);
        }
    }
}
