//! Writes to standard output and standard error. If that returns, what it has returned is emitted.

use mapreduce_guests::{Outcome, Pairs, Program};

struct Prints;

mapreduce_guests::export!(Prints);

impl Program for Prints {
    fn map(_: &[u8], _: &[u8], out: &mut Pairs) -> Outcome {
        let returned = (println!("to output"), eprintln!("to error"));
        out.push(format!("{returned:?}").as_bytes(), b"");
        Ok(())
    }
}
