//! Certificate authorities for images that have none: they come with the worker that is brought there.
//!
//! Without any the client refuses to be made, even for a server without TLS, and many small images have none.
//! What the image has is trusted too.

use std::path::{Path, PathBuf};

use object_store::Certificate;

use crate::error::{Error, IoContext as _, Result};

/// The file's name beside the program.
const NAME: &str = "ca-certificates.crt";
/// Where the worker's own image has it.
#[cfg(feature = "pod")]
const OWN: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The authorities beside this program; none in the worker's own image.
pub(super) fn brought() -> Result<Vec<Certificate>> {
    file().map_or_else(|| Ok(Vec::new()), |file| read(&file))
}

/// The file that they are in.
pub(super) fn file() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.with_file_name(NAME)).filter(|file| file.exists())
}

fn read(file: &Path) -> Result<Vec<Certificate>> {
    let what = || format!("can't read the certificate authorities of {}", file.display());
    if !file.exists() {
        return Ok(Vec::new());
    }
    let pem = std::fs::read(file).context(what)?;
    Certificate::from_pem_bundle(&pem).map_err(|e| Error::permanent(what()).because(e))
}

/// Puts this image's authorities beside a program that is brought elsewhere.
#[cfg(feature = "pod")]
pub(crate) fn bring(program: &Path) -> std::io::Result<()> {
    let own = crate::machine::variables::get("SSL_CERT_FILE")
        .map_or_else(|| Path::new(OWN).into(), std::path::PathBuf::from);
    copy(&own, program)
}

#[cfg(feature = "pod")]
fn copy(own: &Path, program: &Path) -> std::io::Result<()> {
    if own.exists() {
        std::fs::copy(own, program.with_file_name(NAME))?;
    }
    Ok(())
}

#[cfg(all(test, feature = "pod"))]
mod tests {
    use super::{NAME, copy, read};

    #[test]
    fn what_is_brought_is_read_and_nothing_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let (own, program) = (folder.path().join("own.pem"), folder.path().join("program"));
        copy(&own, &program).unwrap();
        assert!(read(&folder.path().join(NAME)).unwrap().is_empty());
        std::fs::write(&own, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        copy(&own, &program).unwrap();
        assert_eq!(std::fs::read(folder.path().join(NAME)).unwrap(), std::fs::read(&own).unwrap());
    }
}
