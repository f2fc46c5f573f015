//! `spec.maxFailedTasks`: a number of map tasks, or a percentage of those of a step.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most tasks that a job can be told to go on without.
const MAX_NUMBER: u32 = 1_000_000;

/// How many map tasks a job may go on without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxFailedTasks {
    /// So many of the whole job.
    Number(u32),
    /// So many of a hundred map tasks of each step, rounded down.
    Percent(u8),
}

impl MaxFailedTasks {
    /// Whether a task that has failed for good fails the job, whichever it is.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Number(0) | Self::Percent(0))
    }
}

impl Default for MaxFailedTasks {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl fmt::Display for MaxFailedTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MaxFailedTasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u32(*number),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for MaxFailedTasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = MaxFailedTasks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from 0 to {MAX_NUMBER}, or a percentage such as 5%")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<MaxFailedTasks, E> {
                let in_range = u32::try_from(number).ok().filter(|number| *number <= MAX_NUMBER);
                in_range
                    .map(MaxFailedTasks::Number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<MaxFailedTasks, E> {
                match u64::try_from(number) {
                    Ok(number) => self.visit_u64(number),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxFailedTasks, E> {
                let percent =
                    text.strip_suffix('%').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
                percent
                    .and_then(|digits| digits.parse().ok())
                    .filter(|percent| *percent <= 100)
                    .map(MaxFailedTasks::Percent)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(feature = "crd")]
impl schemars::JsonSchema for MaxFailedTasks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MaxFailedTasks".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "minimum": 0,
            "maximum": MAX_NUMBER,
            "pattern": "^(100|[0-9]{1,2})%$",
            "x-kubernetes-int-or-string": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MaxFailedTasks;
    use serde_json::json;

    #[test]
    fn a_number_and_a_percentage_are_read_and_written_as_they_are() {
        for (json, read) in [
            (json!(0), MaxFailedTasks::Number(0)),
            (json!(1_000_000), MaxFailedTasks::Number(1_000_000)),
            (json!("0%"), MaxFailedTasks::Percent(0)),
            (json!("100%"), MaxFailedTasks::Percent(100)),
        ] {
            assert_eq!(serde_json::from_value::<MaxFailedTasks>(json.clone()).unwrap(), read);
            assert_eq!(serde_json::to_value(read).unwrap(), json);
        }
        for json in [
            json!(-1),
            json!(1_000_001),
            json!("3"),
            json!("101%"),
            json!("%"),
            json!("+5%"),
            json!("5 %"),
            json!(0.5),
        ] {
            let error = serde_json::from_value::<MaxFailedTasks>(json).unwrap_err().to_string();
            assert!(error.contains("or a percentage such as 5%"), "{error}");
        }
    }
}
