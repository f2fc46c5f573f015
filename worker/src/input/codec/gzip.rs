//! gzip: members one after the other, and zeros after them, with which tapes and some programs fill their blocks.

use std::io::{self, BufRead as _, Read};

use flate2::bufread::GzDecoder;

use super::Stored;

pub(super) struct GzipMembers {
    member: GzDecoder<Stored>,
    is_at_end: bool,
}

impl GzipMembers {
    pub(super) fn new(input: Stored) -> Self {
        Self { member: GzDecoder::new(input), is_at_end: false }
    }

    /// Goes to the next member, if there is one.
    fn next_member(&mut self) -> io::Result<()> {
        let next = self.member.get_mut().fill_buf()?.first().copied();
        match next {
            None => self.is_at_end = true,
            Some(0) => self.pass_zeros()?,
            Some(_) => {
                // A decoder begins again only with an input, which it has.
                let none: Box<dyn Read + Send> = Box::new(io::empty());
                let input = self.member.reset(Stored::with_capacity(0, none));
                self.member.reset(input);
            }
        }
        Ok(())
    }

    /// Skips zeros, which have to be the last bytes: gzip itself would leave out the rest.
    fn pass_zeros(&mut self) -> io::Result<()> {
        let input = self.member.get_mut();
        loop {
            let bytes = input.fill_buf()?;
            if bytes.is_empty() {
                self.is_at_end = true;
                return Ok(());
            }
            if bytes.iter().any(|byte| *byte != 0) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "zeros are followed by other data"));
            }
            let zeros = bytes.len();
            input.consume(zeros);
        }
    }
}

impl Read for GzipMembers {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.is_at_end && !buf.is_empty() {
            match self.member.read(buf)? {
                0 => self.next_member()?,
                got => return Ok(got),
            }
        }
        Ok(0)
    }
}
