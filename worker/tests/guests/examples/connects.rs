//! Opens a connection. If that returns, what it has returned is emitted.

use std::net::TcpStream;

use mapreduce_guests::{Outcome, Pairs, Program};

struct Connects;

mapreduce_guests::export!(Connects);

impl Program for Connects {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = TcpStream::connect("127.0.0.1:1");
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
