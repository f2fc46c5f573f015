//! Keys pass unchanged, though `object_store` has no names for some of them.
//!
//! It takes a leading or doubled `/` away and refuses control characters; one such key fails a whole listing.
//! These keys have a stand-in that it takes, and next to the wire they are put in its place:
//!
//! ```text
//!  key  a//b ──> stand-in  mapreduce-key-612f2f62 ──> object_store ──> RawKeys ──> GET /bucket/a//b, signed anew
//!                          mapreduce-key-612f2f62 <── object_store <── RawKeys <── <Key>a//b</Key>
//! ```

use http::Uri;
use object_store::path::Path;

/// What stand-ins begin with; the key follows in hexadecimal.
const MARK: &str = "mapreduce-key-";

/// The name of a key in `object_store`.
pub(super) fn to_path(key: &str) -> Path {
    match Path::parse(key) {
        Ok(path) if path.as_ref() == key && !key.contains(MARK) => path,
        _ => Path::from(key.bytes().fold(MARK.to_owned(), |name, byte| name + &format!("{byte:02x}"))),
    }
}

/// The key of such a name.
pub(super) fn from_path(path: &Path) -> String {
    let key = path.as_ref().strip_prefix(MARK).and_then(|hex| String::from_utf8(from_hex(hex)?).ok());
    key.unwrap_or_else(|| path.to_string())
}

/// Whether a name stands for a key that `object_store` can't hold.
pub(super) fn is_stand_in(path: &Path) -> bool {
    path.as_ref().starts_with(MARK)
}

/// The bytes of hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// The URI with the key in the place of its stand-in, if it has one.
pub(super) fn with_key(uri: &Uri) -> Option<Uri> {
    let (before, hex) = uri.path().rsplit_once(MARK)?;
    let mut target = format!("{before}{}", encoded(from_hex(hex)?, "/"));
    if let Some(query) = uri.query() {
        target += &format!("?{query}");
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// A text as it stands in a URI; of the signs that mean something there these are kept.
pub(super) fn encoded(text: impl AsRef<[u8]>, kept: &str) -> String {
    let mut encoded = String::new();
    for &byte in text.as_ref() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ if kept.as_bytes().contains(&byte) => encoded.push(byte.into()),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// A page of a listing that is not its last and doesn't say how to get the next.
#[derive(Debug, thiserror::Error)]
#[error("the server says that its listing goes on, but not where")]
pub(super) struct CutListing;

/// A page of a listing with stand-ins in the place of keys that need them.
pub(super) fn with_stand_ins(page: &str) -> Result<String, CutListing> {
    let token = page.split_once("<NextContinuationToken>").and_then(|(_, rest)| rest.split_once('<'));
    if page.contains("<IsTruncated>true</IsTruncated>") && token.is_none_or(|(token, _)| token.is_empty()) {
        return Err(CutListing);
    }
    let mut rewritten = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((at, element)) =
        ["<Key>", "<Prefix>"].iter().filter_map(|e| Some((rest.find(e)? + e.len(), e))).min()
    {
        rewritten.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find("</").unwrap_or(rest.len());
        let key = unescaped(&rest[..end]);
        let path = to_path(&key);
        // The listing's own prefix is not looked at, nor are those of folders.
        if is_stand_in(&path) && *element == "<Key>" {
            rewritten.push_str(path.as_ref());
        } else if *element == "<Key>" {
            rewritten.push_str(&rest[..end]);
        }
        rest = &rest[end..];
    }
    rewritten.push_str(rest);
    Ok(rewritten)
}

/// The text of the first element of this name in a page of XML.
pub(super) fn element(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("<{name}>"))?;
    Some(unescaped(rest.split("</").next().unwrap_or_default()))
}

/// The text of an XML element.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (name, behind) = after.split_once(';').unwrap_or((after, ""));
        let number = name.strip_prefix("#x").map_or_else(
            || name.strip_prefix('#').and_then(|number| number.parse().ok()),
            |number| u32::from_str_radix(number, 16).ok(),
        );
        match name {
            "amp" => plain.push('&'),
            "lt" => plain.push('<'),
            "gt" => plain.push('>'),
            "quot" => plain.push('"'),
            "apos" => plain.push('\''),
            _ => plain.extend(number.and_then(char::from_u32)),
        }
        rest = behind;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::{from_path, is_stand_in, to_path, unescaped, with_key, with_stand_ins};

    #[test]
    fn every_key_has_a_name_of_its_own() {
        let odd = [
            "a//b",
            "/lead",
            "//",
            "in/",
            "/",
            "a/./b",
            "..",
            "tab\there",
            "mapreduce-key-61",
            "in/mapreduce-key-61",
            "x\n",
        ];
        let plain = ["a/b", "a b+c%20#?&=", "über/日本.txt", "{x}[1]*~", "a%2Fb", "'\"<>\\"];
        for key in odd.iter().chain(&plain) {
            let path = to_path(key);
            assert_eq!(from_path(&path), *key);
            assert_eq!(is_stand_in(&path), odd.contains(key), "{key}");
            assert_eq!(object_store::path::Path::parse(path.as_ref()).unwrap(), path);
        }
    }

    #[test]
    fn a_stand_in_becomes_its_key_in_the_request() {
        let uri = format!("http://h:1/b/{}?uploadId=a%2Fb", to_path("/x//y z+\t%ü"));
        let uri = with_key(&uri.parse().unwrap()).unwrap();
        assert_eq!(uri.to_string(), "http://h:1/b//x//y%20z%2B%09%25%C3%BC?uploadId=a%2Fb");
        assert!(with_key(&"http://h/b/x".parse().unwrap()).is_none());
    }

    #[test]
    fn keys_of_a_listing_get_stand_ins_where_they_need_them() {
        let page = "<R><Prefix>a//</Prefix><IsTruncated>false</IsTruncated><Key>a/&amp;b</Key><Key>a//&lt;</Key></R>";
        let page = with_stand_ins(page).unwrap();
        let odd = to_path("a//<");
        let want = format!(
            "<R><Prefix></Prefix><IsTruncated>false</IsTruncated><Key>a/&amp;b</Key><Key>{odd}</Key></R>"
        );
        assert_eq!(page, want);
        assert_eq!(unescaped("&#10;&#x9;&quot;&apos;&gt;&"), "\n\t\"'>");
    }

    #[test]
    fn a_page_that_goes_on_nowhere_is_an_error() {
        for token in ["", "<NextContinuationToken></NextContinuationToken>"] {
            let page = format!("<R><IsTruncated>true</IsTruncated>{token}</R>");
            assert!(with_stand_ins(&page).is_err());
        }
        let page = "<R><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></R>";
        assert_eq!(with_stand_ins(page).unwrap(), page);
    }
}
