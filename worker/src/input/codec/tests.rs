//! Content of any codec, whole, cut off and damaged.

use std::io::{Read as _, Write as _};

use mapreduce_api::v1alpha1::Compression;

use crate::record::split::Codec;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn lz4(text: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// As the program `zstd` writes it.
fn checked_zstd(text: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

type Encode = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn codecs() -> [(Codec, Encode); 4] {
    [
        (Codec::Gzip, Box::new(gzip)),
        (Codec::Bzip2, Box::new(bzip2)),
        (Codec::Zstd, Box::new(|text| zstd::encode_all(text, 1).unwrap())),
        (Codec::Lz4, Box::new(lz4)),
    ]
}

fn decode(codec: Codec, bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut reader = codec.decode(Box::new(std::io::Cursor::new(bytes)), "file:///x");
    reader.read_to_end(&mut content).map(|_| content)
}

#[test]
fn members_one_after_the_other_are_one_content() {
    for (codec, encode) in codecs() {
        let bytes = [encode(b"one\n"), encode(b"two\n")].concat();
        assert_eq!(decode(codec, bytes).unwrap(), b"one\ntwo\n", "{codec:?}");
        // Where the sizes of a frame's blocks are not the next one's.
        let (long, short) = ("a line of text\n".repeat(20_000), "b\n".repeat(2000));
        let bytes = [encode(long.as_bytes()), encode(short.as_bytes()), encode(b"")].concat();
        assert!(decode(codec, bytes).unwrap() == (long + &short).into_bytes(), "{codec:?}");
    }
}

#[test]
fn a_truncated_or_damaged_object_is_an_error_that_names_it() {
    let text: Vec<u8> = (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for (codec, encode) in codecs() {
        let whole = encode(&text);
        let error = decode(codec, whole[..whole.len() - 9].to_vec()).unwrap_err().to_string();
        assert!(error.contains("file:///x"), "{codec:?}: {error}");
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        let result = decode(codec, flipped);
        // A zstd frame has a checksum only when its writer wanted one.
        assert!(codec == Codec::Zstd || result.is_err(), "{codec:?}");
    }
}

#[test]
fn any_flipped_bit_and_any_end_cut_off_is_an_error_that_names_the_object_or_changes_nothing() {
    let text: Vec<u8> = (0..600u32).flat_map(|i| (i * i % 97).to_string().into_bytes()).collect();
    for (codec, encode) in codecs() {
        let whole = if codec == Codec::Zstd { checked_zstd(&text) } else { encode(&text) };
        let check = |bytes: Vec<u8>, what: String| match decode(codec, bytes) {
            // Times and names in a header, say.
            Ok(content) => assert!(content == text, "{codec:?}: {what} is another content"),
            Err(error) => assert!(error.to_string().contains("file:///x"), "{codec:?}: {error}"),
        };
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                check(flipped, format!("bit {bit} of byte {at}"));
            }
        }
        (1..whole.len()).for_each(|end| check(whole[..end].to_vec(), format!("what is before byte {end}")));
    }
}

#[test]
fn auto_goes_by_the_first_bytes_then_by_the_name() {
    let auto = |head: &[u8], name: &str| Codec::of(Compression::Auto, head, name).unwrap();
    assert_eq!(auto(&[0x1f, 0x8b, 8, 0], "x.txt"), Codec::Gzip);
    assert_eq!(auto(&[0x50, 0x2a, 0x4d, 0x18], "x"), Codec::Zstd);
    assert_eq!(auto(&[0x50, 0x2a, 0x4d, 0x18], "x.lz4"), Codec::Lz4);
    assert_eq!(auto(&[2, 0x21, 0x4c, 0x18, 9], "x"), Codec::Lz4);
    assert_eq!(auto(b"BZh91AY&SY", "x"), Codec::Bzip2);
    assert_eq!(auto(b"BZh9 is no", "x"), Codec::None, "text that begins as bzip2 does");
    assert_eq!(auto(b"BZh9 is no", "x.bz2"), Codec::Bzip2);
    assert_eq!(auto(b"text", "x.gz"), Codec::Gzip);
    assert_eq!(auto(b"text", "x.txt"), Codec::None);
    assert_eq!(auto(b"PAR1", "x.snappy"), Codec::None, "Parquet's pages are compressed by themselves");
    assert_eq!(auto(b"", "x.gz"), Codec::None);
    assert_eq!(Codec::of(Compression::None, &[0x1f, 0x8b, 8, 0], "x.gz").unwrap(), Codec::None);
}

#[test]
fn what_is_compressed_in_another_way_is_an_error_that_names_it_unless_its_bytes_are_wanted() {
    for (head, name, what) in [
        (&b"\xfd7zXZ\0\0\x04"[..], "x", "xz"),
        (b"PK\x03\x04\x14\0", "x", "zip"),
        (b"PK\x05\x06\0\0", "x", "zip"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "x", "7z"),
        (b"\xff\x06\0\0sNaPpY", "x", "snappy"),
        (b"\x1f\x9d\x90", "x", "compress"),
        (b"LZIP\x01", "x", "lzip"),
        (b"\x89LZO\0\r\n\x1a\n", "x", "lzop"),
        (b"Rar!\x1a\x07\0", "x", "rar"),
        (b"\x27\xb5\x2f\xfd\0", "x", "old zstd"),
        (b"\x5d\0\0\x80", "x.lzma", "lzma"),
        (b"\x8b\x02", "x.br", "brotli"),
        (b"\x0c\0", "x.snappy", "snappy"),
        (b"\x78\x9c", "x.deflate", "deflate"),
        (b"a", "x.Z", "compress"),
    ] {
        let error = Codec::of(Compression::Auto, head, name).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.causes()[0].contains("input.compression: None"), "{error:?}");
        assert_eq!(Codec::of(Compression::None, head, name).unwrap(), Codec::None);
    }
}

#[test]
fn a_codec_that_the_manifest_names_and_the_object_has_not_is_an_error_that_says_what_it_looks_like() {
    for (compression, head, says) in [
        (Compression::Gzip, &b"text and m"[..], "is not gzip data"),
        (Compression::Gzip, b"\x28\xb5\x2f\xfd", "but like zstd data"),
        (Compression::Zstd, b"\xfd7zXZ\0", "but like xz data"),
        (Compression::Bzip2, b"BZh9 is no", "is not bzip2 data"),
        (Compression::Lz4, b"\x1f\x8b\x08", "but like gzip data"),
    ] {
        let error = Codec::of(compression, head, "x").unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    // What may have been cut off is the decoder's to say.
    assert_eq!(Codec::of(Compression::Zstd, b"\x28", "x").unwrap(), Codec::Zstd);
    assert_eq!(Codec::of(Compression::Gzip, b"", "x").unwrap(), Codec::None);
    for (codec, encode) in codecs() {
        let head = encode(b"");
        assert_eq!(Codec::of(Compression::Auto, &head[..10.min(head.len())], "x").unwrap(), codec);
    }
}

#[test]
fn zeros_behind_gzip_members_are_passed_over_and_other_bytes_are_an_error() {
    let [one, two] = [gzip(b"one\n"), gzip(b"two\n")];
    for zeros in [1, 512, 1 << 20] {
        let padded = [&one[..], &two, &vec![0; zeros]].concat();
        assert_eq!(decode(Codec::Gzip, padded).unwrap(), b"one\ntwo\n", "{zeros}");
        for behind in [&b"x"[..], &two] {
            let error = decode(Codec::Gzip, [&one[..], &vec![0; zeros], behind].concat()).unwrap_err();
            assert!(error.to_string().contains("file:///x"), "{error}");
        }
    }
    for (codec, encode) in codecs() {
        let error = decode(codec, [&encode(b"one\n")[..], b"garbage"].concat()).unwrap_err().to_string();
        assert!(error.contains("file:///x is truncated or damaged"), "{codec:?}: {error}");
    }
}

/// A frame of zstd or lz4 that is skipped.
fn skipped(bytes: usize) -> Vec<u8> {
    [&[0x57, 0x2a, 0x4d, 0x18][..], &(bytes as u32).to_le_bytes(), &vec![7; bytes]].concat()
}

/// An lz4 frame of the first version.
fn legacy(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2, 0x21, 0x4c, 0x18];
    for block in text.chunks(8 << 20) {
        let block = lz4_flex::block::compress(block);
        bytes.extend((block.len() as u32).to_le_bytes());
        bytes.extend(block);
    }
    bytes
}

#[test]
fn frames_that_are_skipped_are_no_content_wherever_they_are() {
    let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
    for (codec, one, two) in [
        (Codec::Zstd, zstd(b"one\n"), zstd(b"two\n")),
        (Codec::Lz4, lz4(b"one\n"), lz4(b"two\n")),
        // Without a name that says so, frames to skip are taken for zstd's until another comes.
        (Codec::Zstd, lz4(b"one\n"), legacy(b"two\n")),
    ] {
        let bytes = [skipped(3), skipped(0), one, skipped(300_000), two, skipped(1)].concat();
        assert_eq!(decode(codec, bytes.clone()).unwrap(), b"one\ntwo\n", "{codec:?}");
        for cut in [1, 3, 8] {
            assert!(decode(codec, bytes[..bytes.len() - cut].to_vec()).is_err(), "{codec:?} {cut}");
        }
        assert_eq!(decode(codec, skipped(9)).unwrap(), b"");
        assert!(decode(codec, skipped(9)[..12].to_vec()).is_err());
    }
}

#[test]
fn lz4_of_the_first_version_is_read_block_by_block() {
    let text: Vec<u8> = (0..3_000_000u32).flat_map(|i| (i / 3).to_le_bytes()).collect();
    assert!(decode(Codec::Lz4, legacy(&text)).unwrap() == text);
    assert_eq!(decode(Codec::Lz4, legacy(b"")).unwrap(), b"");
    let mixed = [legacy(b"one\n"), legacy(b"two\n"), lz4(b"three\n"), skipped(4), legacy(b"four\n")].concat();
    assert_eq!(decode(Codec::Lz4, mixed).unwrap(), b"one\ntwo\nthree\nfour\n");
    let whole = legacy(&text[..9 << 20]);
    for end in [5, 7, 30, whole.len() - 1] {
        assert!(decode(Codec::Lz4, whole[..end].to_vec()).is_err(), "{end}");
    }
}

/// A zstd frame of one stored block, with a window of so many bits.
fn zstd_window(bits: u8, dictionary: Option<u32>, text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, if dictionary.is_some() { 3 } else { 0 }, (bits - 10) << 3];
    frame.extend(dictionary.into_iter().flat_map(u32::to_le_bytes));
    frame.extend(&((text.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    frame.extend(text);
    frame
}

#[test]
fn zstd_is_read_with_windows_of_up_to_2_gib() {
    for bits in [20, 27, 28, 31] {
        assert_eq!(decode(Codec::Zstd, zstd_window(bits, None, b"text")).unwrap(), b"text", "{bits}");
    }
    let error = decode(Codec::Zstd, zstd_window(32, None, b"text")).unwrap_err().to_string();
    assert_eq!(error, "file:///x is zstd data with a window of more than 2 GiB");
}

#[test]
fn a_dictionary_that_is_not_there_is_named_as_what_is_missing() {
    let error = decode(Codec::Zstd, zstd_window(20, Some(7), b"text")).unwrap_err().to_string();
    assert!(error.contains("zstd data that needs a dictionary"), "{error}");
    let mut frame = lz4(b"text");
    // The flag, and the number of the dictionary before the header's checksum.
    frame[4] |= 1;
    let header = [&frame[4..6], &7u32.to_le_bytes()].concat();
    let checksum = (xxh32(&header) >> 8) as u8;
    let frame = [&frame[..4], &header, &[checksum], &frame[7..]].concat();
    let error = decode(Codec::Lz4, frame).unwrap_err().to_string();
    assert!(error.contains("lz4 data that needs a dictionary"), "{error}");
}

/// The checksum of less than 16 bytes.
fn xxh32(bytes: &[u8]) -> u32 {
    const P: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];
    let mut hash = P[4].wrapping_add(bytes.len() as u32);
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let word = u32::from_le_bytes(word.try_into().unwrap());
        hash = hash.wrapping_add(word.wrapping_mul(P[2])).rotate_left(17).wrapping_mul(P[3]);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P[2]);
    hash ^ (hash >> 16)
}
