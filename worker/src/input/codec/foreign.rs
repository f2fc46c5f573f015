//! What is compressed in ways that aren't read: as text it would give records, all of them nonsense.

use crate::error::Error;

/// A format by its first bytes, its extensions, or both.
pub(super) struct Foreign {
    pub(super) name: &'static str,
    magic: &'static [&'static [u8]],
    extensions: &'static [&'static str],
}

const FOREIGN: [Foreign; 14] = [
    Foreign { name: "xz", magic: &[b"\xfd7zXZ\0"], extensions: &[".xz"] },
    // The second is an archive of no files, the third one of several parts.
    Foreign { name: "zip", magic: &[b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"], extensions: &[".zip"] },
    Foreign { name: "7z", magic: &[b"7z\xbc\xaf\x27\x1c"], extensions: &[".7z"] },
    Foreign { name: "snappy", magic: &[b"\xff\x06\0\0sNaPpY"], extensions: &[".snappy", ".sz"] },
    Foreign { name: "compress (.Z)", magic: &[b"\x1f\x9d"], extensions: &[".Z"] },
    Foreign { name: "pack (.z)", magic: &[b"\x1f\x1e"], extensions: &[] },
    Foreign { name: "lzip", magic: &[b"LZIP\0", b"LZIP\x01"], extensions: &[".lz"] },
    Foreign { name: "lzop", magic: &[b"\x89LZO\0\r\n\x1a\n"], extensions: &[".lzo"] },
    Foreign { name: "rar", magic: &[b"Rar!\x1a\x07"], extensions: &[".rar"] },
    // Versions 0.1 to 0.7.
    Foreign {
        name: "an old zstd's",
        magic: &[
            b"\x1e\xb5\x2f\xfd",
            b"\x22\xb5\x2f\xfd",
            b"\x23\xb5\x2f\xfd",
            b"\x24\xb5\x2f\xfd",
            b"\x25\xb5\x2f\xfd",
            b"\x26\xb5\x2f\xfd",
            b"\x27\xb5\x2f\xfd",
        ],
        extensions: &[],
    },
    // These have no magic bytes, or none that text couldn't begin with.
    Foreign { name: "lzma", magic: &[], extensions: &[".lzma"] },
    Foreign { name: "brotli", magic: &[], extensions: &[".br"] },
    Foreign { name: "deflate", magic: &[], extensions: &[".deflate", ".zz"] },
    Foreign { name: "lzfse", magic: &[b"bvx2", b"bvx1", b"bvxn"], extensions: &[".lzfse"] },
];

/// The format of an object, if it is one of these.
pub(super) fn of(head: &[u8], name: &str) -> Option<&'static Foreign> {
    let by_magic = FOREIGN.iter().find(|foreign| foreign.magic.iter().any(|magic| head.starts_with(magic)));
    // A file of known content has got its name for another reason: Parquet's pages are compressed by themselves.
    let known = head.starts_with(b"PAR1");
    let by_name = || FOREIGN.iter().find(|foreign| foreign.extensions.iter().any(|end| name.ends_with(end)));
    by_magic.or_else(|| by_name().filter(|_| !known))
}

impl Foreign {
    pub(super) fn error(&self, url: &str) -> Error {
        let name = self.name;
        Error::permanent(format!("{url} is {name} data, which is not read: gzip, bzip2, zstd and lz4 are"))
            .because("decompress it first; or take its bytes as they are with input.compression: None")
    }
}
