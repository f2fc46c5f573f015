//! Members of a JSON text, without making a tree of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Names of members from the outside in: a JSON pointer (RFC 6901) cut up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    names: Vec<String>,
    shown: String,
}

impl Path {
    /// A member of the outermost object.
    pub fn column(name: &str) -> Self {
        Self { names: vec![name.to_owned()], shown: name.to_owned() }
    }

    /// `/a/0/b`, or the name of a member of the outermost object. The empty pointer is the whole text.
    pub fn pointer(pointer: &str) -> Self {
        let names = match pointer.strip_prefix('/') {
            None if pointer.is_empty() => Vec::new(),
            None => return Self::column(pointer),
            Some(names) => names.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
        };
        Self { names, shown: pointer.to_owned() }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Checks a JSON text.
pub fn check(text: &str) -> serde_json::Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ())
}

/// Whether all that a reader has is a JSON text; it has to be UTF-8.
pub fn check_all(text: impl std::io::Read) -> crate::error::Result<bool> {
    match serde_json::from_reader::<_, IgnoredAny>(text) {
        Ok(_) => Ok(true),
        Err(error) if error.is_io() => Err(std::io::Error::from(error).into()),
        Err(_) => Ok(false),
    }
}

/// Checks a JSON text and finds members of it, each as its own JSON text. Of members with the same
/// name the last one counts.
pub fn find<'a, const N: usize>(
    text: &'a str,
    paths: [&Path; N],
) -> serde_json::Result<[Option<&'a str>; N]> {
    let names = paths.map(|path| &path.names[..]);
    let mut found = [None; N];
    find_names(text, &names, &mut found)?;
    Ok(found)
}

fn find_names<'a>(
    text: &'a str,
    names: &[&[String]],
    found: &mut [Option<&'a str>],
) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    let first = text.bytes().find(|byte| !byte.is_ascii_whitespace());
    let whole = names.iter().any(|names| names.is_empty());
    match first {
        Some(b'{') if !whole => json.deserialize_map(Members { names, found })?,
        Some(b'[') if !whole => json.deserialize_seq(Members { names, found })?,
        _ => {
            let raw: &RawValue = serde::Deserialize::deserialize(&mut json)?;
            json.end()?;
            for (names, found) in names.iter().zip(found) {
                if names.is_empty() {
                    *found = Some(raw.get());
                } else if matches!(first, Some(b'{' | b'[')) {
                    find_names(text, &[names], std::slice::from_mut(found))?;
                }
            }
            return Ok(());
        }
    }
    json.end()
}

/// Looks for the first of the names in one object or array.
struct Members<'n, 'f, 'a> {
    names: &'n [&'n [String]],
    found: &'f mut [Option<&'a str>],
}

impl<'a> Members<'_, '_, 'a> {
    fn take(&mut self, wanted: u64, raw: &'a RawValue) -> serde_json::Result<()> {
        for (i, (names, found)) in self.names.iter().zip(&mut *self.found).enumerate() {
            if wanted & (1 << i) == 0 {
                continue;
            }
            *found = None;
            if names.len() == 1 {
                *found = Some(raw.get());
            } else {
                find_names(raw.get(), &[&names[1..]], std::slice::from_mut(found))?;
            }
        }
        Ok(())
    }
}

impl<'a> Visitor<'a> for Members<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(wanted) = map.next_key_seed(WantedBy(self.names))? {
            if wanted == 0 {
                map.next_value::<IgnoredAny>()?;
            } else {
                self.take(wanted, map.next_value()?).map_err(serde::de::Error::custom)?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        for index in 0usize.. {
            let wanted = wanted(self.names, |name| is_index(name, index));
            if wanted == 0 {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
            } else if let Some(raw) = seq.next_element()? {
                self.take(wanted, raw).map_err(serde::de::Error::custom)?;
            } else {
                break;
            }
        }
        Ok(())
    }
}

fn is_index(name: &str, index: usize) -> bool {
    let is_number = name == "0" || (!name.starts_with(['0', '+']) && !name.is_empty());
    is_number && name.parse() == Ok(index)
}

/// A bit for each list of names whose first one it is.
fn wanted(names: &[&[String]], is: impl Fn(&str) -> bool) -> u64 {
    let bit = |(i, names): (usize, &&[String])| u64::from(names.first().is_some_and(|name| is(name))) << i;
    names.iter().enumerate().map(bit).sum()
}

/// Reads the name of a member and says who wants it.
struct WantedBy<'n>(&'n [&'n [String]]);

impl<'a> DeserializeSeed<'a> for WantedBy<'_> {
    type Value = u64;

    fn deserialize<D: serde::Deserializer<'a>>(self, name: D) -> Result<u64, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for WantedBy<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, member: &str) -> Result<u64, E> {
        Ok(wanted(self.0, |name| name == member))
    }
}

/// Appends a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a vector can't fail.
    let _ = serde_json::to_writer(out, text);
}

/// A JSON text as a key or value: a string's own text, otherwise the JSON text.
pub fn plain(json: &str) -> serde_json::Result<Cow<'_, str>> {
    match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None => Ok(Cow::Borrowed(json)),
        Some(text) if !text.contains('\\') => Ok(Cow::Borrowed(text)),
        Some(_) => serde_json::from_str(json).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{Path, find, plain};

    fn one(text: &str, pointer: &str) -> Option<String> {
        find(text, [&Path::pointer(pointer)]).unwrap()[0].map(|json| plain(json).unwrap().into_owned())
    }

    #[test]
    fn members_are_found_by_pointer_strings_as_they_are_and_others_as_json() {
        let text = r#" {"a": {"b": [1, {"c": "x\ty"}], "": 1.50}, "a/b": true, "m~n": null, "é": "\u00e9"} "#;
        for (pointer, expected) in [
            ("/a/b/0", Some("1")),
            ("/a/b/1/c", Some("x\ty")),
            ("/a/b/1", Some(r#"{"c": "x\ty"}"#)),
            ("/a/b/2", None),
            ("/a/b/00", None),
            ("/a/b/+1", None),
            ("/a/", Some("1.50")),
            ("/a~1b", Some("true")),
            ("a/b", Some("true")),
            ("/m~0n", Some("null")),
            ("/é", Some("é")),
            ("/a/b/0/x", None),
            ("/none", None),
            ("", Some(text.trim())),
        ] {
            assert_eq!(one(text, pointer).as_deref(), expected, "{pointer}");
        }
        let both = find(r#"{"a":{"x":1,"y":2}}"#, [&Path::pointer("/a/y"), &Path::pointer("/a")]).unwrap();
        assert_eq!(both, [Some("2"), Some(r#"{"x":1,"y":2}"#)]);
        assert_eq!(find("7", [&Path::pointer(""), &Path::pointer("/a")]).unwrap(), [Some("7"), None]);
    }

    #[test]
    fn the_last_of_members_with_the_same_name_counts() {
        assert_eq!(one(r#"{"a":1,"a":2}"#, "/a").unwrap(), "2");
        assert_eq!(one(r#"{"a":{"b":1},"a":{"c":2}}"#, "/a/b"), None);
    }

    #[test]
    fn what_is_no_json_is_an_error_wherever_it_is() {
        for text in ["", "{", "{'a':1}", r#"{"a":1,}"#, r#"{"a":1} x"#, r#"{"b":[1,2}"#, "nul", r#"{"a":01}"#]
        {
            assert!(find(text, [&Path::pointer("/a")]).is_err(), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[ab/~]{0,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_member_is_the_one_of_the_tree(json in json(), pointer in "(/([ab]|~0|~1|[0-3]){0,2}){0,3}") {
            let text = json.to_string();
            let found = find(&text, [&Path::pointer(&pointer), &Path::pointer("/a")]).unwrap();
            for (found, pointer) in found.iter().zip([&pointer[..], "/a"]) {
                let found = found.map(|json| serde_json::from_str::<Value>(json).unwrap());
                prop_assert_eq!(found.as_ref(), json.pointer(pointer));
            }
        }
    }
}
