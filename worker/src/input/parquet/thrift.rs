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
//! also past the last byte: two thousand million values that aren't there take seconds, and a few hundred bytes can
//! hold many such collections. What it knows it reads without a look at the type that is written there, so that the
//! look here has to know Parquet's structures too: where the types differ it is an error.

mod shapes;

pub(super) use self::shapes::{FOOTER, PAGE_HEADER};

/// Why a file is refused that the library takes for a damaged one.
pub(super) const ENCRYPTED: &str = "it is encrypted";

/// No structure of Parquet's is as deep.
const DEEPEST: u32 = 32;

/// Groups of the schema, one in the other: rows as deep are JSON that our own functions read.
const DEEPEST_SCHEMA: usize = 100;

/// What a field holds.
#[derive(Clone, Copy)]
enum ThriftType {
    Bool,
    Byte,
    /// Of 16, 32 or 64 bits: they are written alike.
    Int,
    Double,
    Binary,
    Struct(&'static ThriftStruct),
    List(&'static Self),
    /// What the library passes over, whatever it is.
    Passed,
}

/// A structure that the library reads: the kinds of its fields from number 1 on.
pub(super) struct ThriftStruct {
    name: &'static str,
    fields: &'static [ThriftType],
}

/// An error when the structure at the beginning of `bytes` is not of this shape, or has a collection that can't be
/// there. That it goes on past the last byte is the library's to say.
pub(super) fn check(bytes: &[u8], shape: &ThriftStruct) -> Result<(), String> {
    let mut walk = Walk { bytes, children: Vec::new(), is_encrypted: false };
    let walked = walk.fields(shape, DEEPEST);
    if walk.is_encrypted {
        return Err(ENCRYPTED.to_owned());
    }
    match walked {
        Err(ThriftStop::Impossible(why)) => Err(why),
        Err(ThriftStop::End) | Ok(()) => check_tree(&walk.children),
    }
}

/// The schema is a list of elements that say how many of the next are their own. The library makes room for so many,
/// and goes down into them: an error where that would end the process.
fn check_tree(children: &[i64]) -> Result<(), String> {
    let mut left: Vec<u64> = Vec::new();
    for &count in children {
        while left.pop_if(|left| *left == 0).is_some() {}
        if let Some(left) = left.last_mut() {
            *left -= 1;
        }
        let count = u64::try_from(count).map_err(|_| format!("a group has {count} columns"))?;
        if count > children.len() as u64 {
            return Err(format!("a group has {count} columns of {}", children.len()));
        }
        if count > 0 {
            left.push(count);
        }
        if left.len() > DEEPEST_SCHEMA {
            return Err(format!("it has more than {DEEPEST_SCHEMA} groups one in the other"));
        }
    }
    Ok(())
}

impl ThriftType {
    /// Whether it is written as a value of this type.
    fn is(&self, written: u8) -> bool {
        match self {
            Self::Bool => matches!(written, 1 | 2),
            Self::Byte => written == 3,
            Self::Int => matches!(written, 4..=6),
            Self::Double => written == 7,
            Self::Binary => written == 8,
            Self::List(_) => matches!(written, 9 | 10),
            Self::Struct(_) => written == 12,
            Self::Passed => true,
        }
    }
}

enum ThriftStop {
    End,
    Impossible(String),
}

/// Positive and negative numbers by turns.
fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

struct Walk<'a> {
    bytes: &'a [u8],
    /// How many children each element of the schema has.
    children: Vec<i64>,
    /// Whether it says how it, or a column, is encrypted.
    is_encrypted: bool,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), ThriftStop> {
        self.bytes = self.bytes.get(bytes..).ok_or(ThriftStop::End)?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ThriftStop> {
        let first = *self.bytes.first().ok_or(ThriftStop::End)?;
        self.skip(1)?;
        Ok(first)
    }

    fn varint(&mut self) -> Result<u64, ThriftStop> {
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

    fn fields(&mut self, shape: &ThriftStruct, depth: u32) -> Result<(), ThriftStop> {
        if depth == 0 {
            return Err(ThriftStop::Impossible(format!("it has structures {DEEPEST} deep")));
        }
        let is_element = std::ptr::eq(shape, &raw const shapes::SCHEMA_ELEMENT);
        if is_element {
            self.children.push(0);
        }
        let mut id = 0i16;
        loop {
            let byte = self.byte()?;
            let (delta, written) = (byte >> 4, byte & 15);
            if written == 0 {
                return Ok(());
            }
            id = match delta {
                // The library too takes the lowest 16 bits.
                0 => self.varint().map(|number| zigzag(number) as i16)?,
                // The library ends there.
                _ => id.checked_add(delta.into()).ok_or(ThriftStop::End)?,
            };
            let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
            let known = index.and_then(|index| shape.fields.get(index));
            // What it knows the library reads as it should be, whatever it is said to be: all after it would be
            // something else to it than it is here.
            if let Some(known) = known
                && !known.is(written)
            {
                let name = shape.name;
                return Err(ThriftStop::Impossible(format!("field {id} of the {name} is of type {written}")));
            }
            self.is_encrypted |= shapes::says_encrypted(shape, id);
            match written {
                // A field's truth value is its type.
                1 | 2 => {}
                4..=6 if is_element && id == shapes::NUM_CHILDREN => {
                    let count = zigzag(self.varint()?);
                    if let Some(children) = self.children.last_mut() {
                        *children = count;
                    }
                }
                _ => self.value(written, known, depth)?,
            }
        }
    }

    fn value(&mut self, written: u8, known: Option<&ThriftType>, depth: u32) -> Result<(), ThriftStop> {
        match written {
            3 => self.skip(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip(8),
            8 => {
                let bytes = self.varint()?;
                self.skip(usize::try_from(bytes).map_err(|_| ThriftStop::End)?)
            }
            9 | 10 => {
                let head = self.byte()?;
                let size = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
                let known = match known {
                    Some(ThriftType::List(kind)) => Some(*kind),
                    _ => None,
                };
                self.values(size, &[head & 15], known, depth)
            }
            11 => match self.varint()? {
                0 => Ok(()),
                size => {
                    let kinds = self.byte()?;
                    self.values(size, &[kinds >> 4, kinds & 15], None, depth)
                }
            },
            12 => {
                let shape = match known {
                    Some(ThriftType::Struct(shape)) => shape,
                    _ => &shapes::OTHER,
                };
                self.fields(shape, depth.saturating_sub(1))
            }
            13 => self.skip(16),
            // The library knows no other either.
            _ => Err(ThriftStop::End),
        }
    }

    /// The values of a collection, or its keys and values by turns.
    fn values(
        &mut self,
        size: u64,
        written: &[u8],
        known: Option<&ThriftType>,
        depth: u32,
    ) -> Result<(), ThriftStop> {
        if depth == 0 {
            return Err(ThriftStop::Impossible(format!("it has lists {DEEPEST} deep")));
        }
        if size > self.bytes.len() as u64 {
            let left = self.bytes.len();
            return Err(ThriftStop::Impossible(format!("it says that {size} values are in {left} bytes")));
        }
        // None of Parquet's has them, and the library passes over them as if they took no bytes.
        if size > 0 && written.iter().any(|kind| matches!(kind, 1 | 2)) {
            return Err(ThriftStop::Impossible("it has a list of truth values".to_owned()));
        }
        for _ in 0..size {
            for &kind in written {
                // The library ends at a list of others than it knows.
                if known.is_some_and(|known| !known.is(kind)) {
                    return Err(ThriftStop::End);
                }
                self.value(kind, known, depth - 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
