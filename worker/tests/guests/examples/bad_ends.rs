//! Emits what are not pairs: in which way, the record says.

use mapreduce_guests::mapreduce::function::host;
use mapreduce_guests::{Outcome, Pairs, Program};

struct BadEnds;

mapreduce_guests::export!(BadEnds);

impl Program for BadEnds {
    fn map(_: &[u8], record: &[u8], _: &mut Pairs) -> Outcome {
        match record {
            b"beyond" => host::emit(b"keyvalue", &[3, 9]),
            b"far beyond" => host::emit(b"keyvalue", &[3, u32::MAX]),
            b"descending" => host::emit(b"keyvalue", &[8, 3]),
            b"odd" => host::emit(b"keyvalue", &[3]),
            b"left over" => host::emit(b"keyvalue", &[3, 7]),
            b"none" => host::emit(b"", &[]),
            _ => host::emit(b"keyvalue", &[3, 8]),
        }
        Ok(())
    }
}
