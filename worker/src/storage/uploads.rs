//! Lists uploads that are neither complete nor aborted, which `object_store` has no request for.
//!
//! What goes through it as a listing of objects becomes one of uploads next to the wire, signed anew:
//!
//! ```text
//!  GET /b?list-type=2&prefix=out%2F         ──> GET /b?prefix=out%2F&uploads=
//!  <Contents><Key>stand-in for key, id</Key> <── <Upload><Key>out/part-00000</Key><UploadId>id</UploadId></Upload>
//!  <NextContinuationToken>hex</…>           <── <NextKeyMarker>…</…><NextUploadIdMarker>…</…>
//! ```
//!
//! So it has the library's retries, credentials and errors.

use http::Uri;

use super::keys;

/// Marks a request for a listing of objects that is to be one of uploads.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsksForUploads;

/// What stands between a key and an upload's id. Ids are text of a URL, and don't have it.
const BETWEEN: char = '\0';

/// An answer that is not a list of uploads.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoList {
    #[error("the server has no list of uploads")]
    Other,
    #[error("the server says that its list of uploads goes on, but not where")]
    Cut,
}

/// The request that asks for uploads, of one that asks for objects.
pub(super) fn request(uri: &Uri) -> Option<Uri> {
    let mut query = Vec::new();
    for pair in uri.query().unwrap_or_default().split('&') {
        match pair.split_once('=') {
            Some(("continuation-token", hex)) => {
                let marker = String::from_utf8(keys::from_hex(hex)?).ok()?;
                let (key, id) = marker.split_once(BETWEEN)?;
                query.push(format!("key-marker={}", keys::encoded(key, "")));
                query.push(format!("upload-id-marker={}", keys::encoded(id, "")));
            }
            Some(("prefix", _)) => query.push(pair.to_owned()),
            _ => {}
        }
    }
    query.push("uploads=".to_owned());
    query.sort_unstable();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{}?{}", uri.path(), query.join("&")).parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// A page of uploads as one of objects: the name of each is its key and its id.
pub(super) fn as_objects(page: &str) -> Result<String, NoList> {
    let (_, page) = page.split_once("<ListMultipartUploadsResult").ok_or(NoList::Other)?;
    let hex = |key: &str, id: &str| {
        format!("{key}{BETWEEN}{id}").bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    };
    let is_truncated = page.contains("<IsTruncated>true</IsTruncated>");
    let mut objects = format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>");
    if is_truncated {
        let key = keys::element(page, "NextKeyMarker").filter(|key| !key.is_empty()).ok_or(NoList::Cut)?;
        let id = keys::element(page, "NextUploadIdMarker").unwrap_or_default();
        objects += &format!("<NextContinuationToken>{}</NextContinuationToken>", hex(&key, &id));
    }
    for upload in page.split("<Upload>").skip(1) {
        let (Some(key), Some(id)) = (keys::element(upload, "Key"), keys::element(upload, "UploadId")) else {
            return Err(NoList::Other);
        };
        let name = keys::to_path(&name(&key, &id));
        objects += &format!(
            "<Contents><Key>{name}</Key><LastModified>2000-01-01T00:00:00Z</LastModified><Size>0</Size></Contents>"
        );
    }
    Ok(objects + "</ListBucketResult>")
}

/// The name of an upload in a listing.
pub(super) fn name(key: &str, id: &str) -> String {
    format!("{key}{BETWEEN}{id}")
}

/// The key and the id that a name stands for.
pub(super) fn key_and_id(name: &str) -> Option<(&str, &str)> {
    name.split_once(BETWEEN)
}

#[cfg(test)]
mod tests {
    use super::{as_objects, key_and_id, request};
    use crate::storage::keys::from_path;

    #[test]
    fn a_listing_of_objects_becomes_one_of_uploads() {
        let asks = |uri: &str| request(&uri.parse().unwrap()).unwrap().to_string();
        assert_eq!(asks("http://h/b?list-type=2&prefix=o%2F%C3%BC"), "http://h/b?prefix=o%2F%C3%BC&uploads=");
        let page = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>a&amp;b/</NextKeyMarker>\
                    <NextUploadIdMarker>x+y</NextUploadIdMarker></ListMultipartUploadsResult>";
        let page = as_objects(page).unwrap();
        let (_, token) = page.split_once("<NextContinuationToken>").unwrap();
        let token = token.split('<').next().unwrap();
        assert_eq!(
            asks(&format!("http://h/b?continuation-token={token}&list-type=2")),
            "http://h/b?key-marker=a%26b%2F&upload-id-marker=x%2By&uploads="
        );
    }

    #[test]
    fn an_upload_is_known_by_its_key_and_its_id() {
        let page = "<?xml version=\"1.0\"?><ListMultipartUploadsResult xmlns=\"x\"><IsTruncated>false</IsTruncated>\
                    <Upload><Key>o//a&lt;</Key><UploadId>1~A=</UploadId></Upload>\
                    <Upload><UploadId>2</UploadId><Initiated>x</Initiated><Key>b</Key></Upload></ListMultipartUploadsResult>";
        let page = as_objects(page).unwrap();
        let names = page.split("<Key>").skip(1).map(|rest| {
            let path = object_store::path::Path::parse(rest.split('<').next().unwrap()).unwrap();
            let name = from_path(&path);
            let (key, id) = key_and_id(&name).unwrap();
            (key.to_owned(), id.to_owned())
        });
        let names: Vec<_> = names.collect();
        assert_eq!(names, [("o//a<".into(), "1~A=".into()), ("b".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn what_is_no_list_of_uploads_is_an_error() {
        for page in [
            "",
            "<ListBucketResult></ListBucketResult>",
            "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>",
            "<ListMultipartUploadsResult><Upload><Key>x</Key></Upload></ListMultipartUploadsResult>",
        ] {
            assert!(as_objects(page).is_err(), "{page}");
        }
    }
}
