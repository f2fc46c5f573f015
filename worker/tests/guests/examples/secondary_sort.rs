//! `year degrees station` → `year,degrees`, with the station; then the number of a key's values, without keeping
//! them.

use mapreduce_guests::{Outcome, Pairs, Program, Values, text};

struct SecondarySort;

mapreduce_guests::export!(SecondarySort);

impl Program for SecondarySort {
    fn map(_: &[u8], line: &[u8], out: &mut Pairs) -> Outcome {
        let [year, degrees, station] = text(line)?.split(' ').collect::<Vec<_>>()[..] else {
            return Err("a line that is not of three fields".into());
        };
        out.push(format!("{year},{degrees}").as_bytes(), station.as_bytes());
        Ok(())
    }

    fn reduce(reading: &[u8], stations: &mut Values, out: &mut Pairs) -> Outcome {
        let mut count = 0;
        while stations.next_value().is_some() {
            count += 1;
        }
        out.push(reading, count.to_string().as_bytes());
        Ok(())
    }
}
