//! A look at a Thrift structure before the library reads it: Parquet's footer and the headers of its pages.
//!
//! ```text
//!  struct     = field* 0
//!  field      = delta of the id, type (4 bits each) │ id where the delta is 0 │ value
//!  list, set  = size, type (4 bits each) │ size where the bits are 15 │ value*
//!  map        = size │ types of keys and values (4 bits each) where the size is not 0 │ (key value)*
//!  binary     = size │ bytes
//! ```
//!
//! (The [compact protocol](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md); numbers
//! are varints.) Fields that it doesn't know the library passes over, and takes the size of a collection at its word,
//! also behind the last byte: two thousand million values that aren't there take seconds, and a few hundred bytes can
//! hold many such collections.

/// No structure of Parquet's is as deep.
const DEEPEST: u32 = 32;

/// An error when the structure at the beginning of `bytes` has a collection that can't be there. That it goes on
/// behind the last byte is the library's to say.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    match (Walk { bytes }).fields(DEEPEST) {
        Err(Stop::Impossible(why)) => Err(why),
        Err(Stop::End) | Ok(()) => Ok(()),
    }
}

enum Stop {
    End,
    Impossible(String),
}

struct Walk<'a> {
    bytes: &'a [u8],
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.get(bytes..).ok_or(Stop::End)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let first = *self.bytes.first().ok_or(Stop::End)?;
        self.skip(1)?;
        Ok(first)
    }

    fn varint(&mut self) -> Result<u64, Stop> {
        let (mut number, mut shift) = (0u64, 0);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(number);
            }
            shift += 7;
        }
    }

    fn fields(&mut self, depth: u32) -> Result<(), Stop> {
        if depth == 0 {
            return Err(Stop::Impossible(format!("it has structures {DEEPEST} deep")));
        }
        loop {
            let byte = self.byte()?;
            let (delta, kind) = (byte >> 4, byte & 15);
            if kind == 0 {
                return Ok(());
            }
            if delta == 0 {
                self.varint()?;
            }
            match kind {
                // A field's truth value is its type.
                1 | 2 => {}
                _ => self.value(kind, depth)?,
            }
        }
    }

    fn value(&mut self, kind: u8, depth: u32) -> Result<(), Stop> {
        match kind {
            3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let bytes = self.varint()?;
                self.skip(usize::try_from(bytes).map_err(|_| Stop::End)?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let size = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                self.values(size, &[head & 15], depth)
            }
            11 => match self.varint()? {
                0 => Ok(()),
                size => {
                    let kinds = self.byte()?;
                    self.values(size, &[kinds >> 4, kinds & 15], depth)
                }
            },
            12 => self.fields(depth.saturating_sub(1)),
            13 => self.skip(16),
            // The library knows no other either.
            _ => Err(Stop::End),
        }
    }

    /// The values of a collection, or its keys and values by turns.
    fn values(&mut self, size: u64, kinds: &[u8], depth: u32) -> Result<(), Stop> {
        if depth == 0 {
            return Err(Stop::Impossible(format!("it has lists {DEEPEST} deep")));
        }
        if size > self.bytes.len() as u64 {
            let left = self.bytes.len();
            return Err(Stop::Impossible(format!("it says that {size} values are in {left} bytes")));
        }
        // None of Parquet's has them, and the library passes over them as if they took no bytes.
        if size > 0 && kinds.iter().any(|kind| matches!(kind, 1 | 2)) {
            return Err(Stop::Impossible("it has a list of truth values".to_owned()));
        }
        for _ in 0..size {
            for &kind in kinds {
                self.value(kind, depth - 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{DEEPEST, check};

    /// A page's header: kind 0, 100 bytes, 50 stored, and as field 5 a structure of numbers and truth values.
    const HEADER: [u8; 15] = [0x15, 0, 0x15, 200, 1, 0x15, 100, 0x2c, 0x15, 8, 0x11, 0x12, 0, 0, 77];

    #[test]
    fn what_a_page_header_holds_is_passed_over() {
        check(&HEADER).unwrap();
        let list_set_map = [0x19, 0x23, 1, 2, 0x1a, 0x18, 1, b'x', 0x1b, 1, 0x86, 1, b'k', 2, 0x1b, 0, 0];
        check(&list_set_map).unwrap();
        (0..HEADER.len()).for_each(|cut| check(&HEADER[..cut]).unwrap());
    }

    #[test]
    fn a_collection_that_can_not_be_there_is_an_error() {
        let many = [0xff, 0xff, 0xff, 0xff, 7];
        for (kind, says) in
            [(7, "2147483647 values are in"), (2, "2147483647 values"), (12, "2147483647 values")]
        {
            let bytes = [&[0x19, 0xf0 | kind][..], &many, &[0; 9]].concat();
            let error = check(&bytes).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(check(&[0x19, 0x21, 0, 0, 0]).unwrap_err().contains("truth values"));
        let map = [&[0x1b][..], &many, &[0x88, 0]].concat();
        assert!(check(&map).unwrap_err().contains("2147483647 values"));
        // A structure in the deepest list.
        let deepest = [&[0x19; DEEPEST as usize][..], &[0x1c; 40]].concat();
        assert!(check(&deepest).unwrap_err().contains("deep"));
        assert!(check(&[0x1c; 100]).unwrap_err().contains(&format!("{DEEPEST} deep")));
        assert!(check(&[[0x19].as_slice(), &[0x19; 100]].concat()).unwrap_err().contains("deep"));
    }
}
