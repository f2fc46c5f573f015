//! Sizes as Kubernetes writes them: `128Mi`, `1G`, `65536`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes, written as a Kubernetes quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// Why a text is not a size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a size in bytes below 16Ei: write a number with an optional unit, as in 128Mi, 1.5G or 65536"
)]
pub struct BadSize(String);

const UNITS: [(&str, u64); 15] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("E", 1_000_000_000_000_000_000),
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for Bytes {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        parse(text.trim()).map(Self).ok_or_else(|| BadSize(text.to_owned()))
    }
}

/// A quantity of bytes; a part of a byte is one, as Kubernetes has it.
fn parse(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
    let unit_factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| u128::from(*factor));
    let (factor, exponent) = match unit_factor {
        Some(factor) => (factor, 0),
        None if unit == "m" => (1, -3),
        // `1e3`. That `1E` is a unit was seen before.
        None => (1, unit.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?),
    };
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = 10u128.checked_pow(shift.unsigned_abs())?;
    let product = mantissa.checked_mul(factor)?;
    let bytes = if shift < 0 { product.div_ceil(power) } else { product.checked_mul(power)? };
    u64::try_from(bytes).ok()
}

impl fmt::Display for Bytes {
    /// The largest binary unit that divides the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS[..6].iter().rev().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 128Mi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }

            fn visit_f64<E: de::Error>(self, bytes: f64) -> Result<Bytes, E> {
                bytes.to_string().parse().map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Bytes, E> {
                u64::try_from(bytes).map(Bytes).map_err(|_| E::custom(BadSize(bytes.to_string())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(feature = "crd")]
impl schemars::JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "pattern": r"^([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[kKMGTPEBm]|[eE][+-]?[0-9]+)?$",
            "x-kubernetes-int-or-string": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn a_size_reads_as_kubernetes_reads_it() {
        for (text, bytes) in [
            ("128Mi", 128 << 20),
            ("1G", 1_000_000_000),
            ("65536", 65_536),
            ("2k", 2_000),
            ("1.5Ki", 1536),
            (".5Gi", 512 << 20),
            ("1e3", 1000),
            ("12E-1", 2),
            ("2000m", 2),
            ("1m", 1),
            ("1E", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn a_size_that_is_none_is_refused_with_the_remedy() {
        for text in ["", "Mi", ".", "1.5.1", "-1", "1e", "1e99", "12 monkeys", "99999999999Pi"] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains("128Mi"), "{error}");
        }
    }

    #[test]
    fn a_size_is_written_with_the_largest_unit_that_divides_it() {
        for (bytes, text) in [(128 << 20, "128Mi"), (1_000, "1000"), (0, "0"), (3 << 30, "3Gi")] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
