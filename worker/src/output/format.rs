//! How a pair is written.

use mapreduce_api::v1alpha1::{Output, OutputFormatType};

use crate::error::{Error, Result};

/// How pairs are written.
#[derive(Debug)]
pub(super) enum Format {
    /// A line of key, separator, value.
    KeyValue { separator: Vec<u8> },
    /// A line of the value alone.
    Lines,
}

impl Format {
    pub(super) fn new(output: &Output) -> Self {
        match output.format.kind {
            OutputFormatType::KeyValue => {
                let options = output.format.key_value.clone().unwrap_or_default();
                Self::KeyValue {
                    separator: options.separator.map_or_else(|| b"\t".to_vec(), String::into_bytes),
                }
            }
            OutputFormatType::Lines => Self::Lines,
        }
    }

    /// Appends a pair. A pair that would read back as another is a bad record.
    #[inline]
    pub(super) fn write(&self, key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::KeyValue { separator } => {
                if memchr::memchr(b'\n', key).is_some() || memchr::memchr(b'\n', value).is_some() {
                    return Err(unwritable("holds a newline", key, value));
                }
                let ambiguous = match separator[..] {
                    [byte] => memchr::memchr(byte, key).is_some(),
                    _ => memchr::memmem::find(key, separator).is_some(),
                };
                if ambiguous {
                    return Err(unwritable("has a key that holds the separator", key, value));
                }
                out.extend_from_slice(key);
                out.extend_from_slice(separator);
            }
            Self::Lines => {
                if memchr::memchr(b'\n', value).is_some() {
                    return Err(unwritable("has a value that holds a newline", key, value));
                }
            }
        }
        out.extend_from_slice(value);
        out.push(b'\n');
        Ok(())
    }
}

fn unwritable(why: &str, key: &[u8], value: &[u8]) -> Error {
    let show = |text: &[u8]| text[..text.len().min(64)].escape_ascii().to_string();
    Error::permanent(format!("bad record: the pair `{}` → `{}` {why}", show(key), show(value)))
        .because("choose another output.format, as JsonLines, or another separator")
}

#[cfg(test)]
mod tests {
    use mapreduce_api::v1alpha1::Output;

    use super::Format;

    fn format(format: serde_json::Value) -> Format {
        let output: Output =
            serde_json::from_value(serde_json::json!({"url": "file:x/", "format": format})).unwrap();
        Format::new(&output)
    }

    fn write(by: &Format, key: &str, value: &str) -> Result<String, String> {
        let mut out = Vec::new();
        by.write(key.as_bytes(), value.as_bytes(), &mut out).map_err(|e| e.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_pair_is_a_line_of_key_separator_and_value() {
        let by = format(serde_json::json!({"type": "KeyValue"}));
        assert_eq!(write(&by, "k", "a\tb").unwrap(), "k\ta\tb\n");
        assert_eq!(write(&by, "", "").unwrap(), "\t\n", "the separator is always written");
        let by = format(serde_json::json!({"type": "KeyValue", "keyValue": {"separator": " = "}}));
        assert_eq!(write(&by, "k\t", "v").unwrap(), "k\t = v\n");
        assert_eq!(write(&format(serde_json::json!({"type": "Lines"})), "k\n", "v").unwrap(), "v\n");
    }

    #[test]
    fn a_pair_that_would_read_back_as_another_is_a_bad_record() {
        let by = format(serde_json::json!({"type": "KeyValue"}));
        for (key, value) in [("a\tb", "v"), ("a\nb", "v"), ("a", "v\n")] {
            assert!(write(&by, key, value).unwrap_err().contains("bad record"), "{key:?} {value:?}");
        }
        assert!(write(&format(serde_json::json!({"type": "Lines"})), "k", "a\nb").is_err());
    }
}
