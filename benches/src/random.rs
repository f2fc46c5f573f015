//! Numbers and words that are the same everywhere: integers only, for floating-point functions differ in their
//! last bit from one C library to the next.

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    /// Each stream is a sequence of its own.
    pub(crate) fn new(stream: u64, number: usize) -> Self {
        Self(mix(mix(stream) ^ number as u64))
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`.
    #[inline]
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A number below 2^`octaves` - 1, few of them often and many seldom, as words in a text: each of the
    /// octaves 0, 1–2, 3–6, 7–14 … is as likely as any other, so that a rank's probability is about 1 / rank (Zipf).
    #[inline]
    pub(crate) fn rank(&mut self, octaves: u32) -> usize {
        let octave = self.below(u64::from(octaves));
        ((1 << octave) - 1 + (self.next() >> 20 & ((1 << octave) - 1))) as usize
    }
}

/// A bijection of the 64-bit numbers that scatters them: the finalizer of SplitMix64.
#[inline]
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The word of a rank: syllables, fewer for those that come often, and perhaps an ending. No two are the same:
/// a syllable ends with a vowel and an ending has none.
pub(crate) fn word(rank: usize) -> Vec<u8> {
    const CONSONANTS: &[u8; 14] = b"bdfghklmnprstv";
    const VOWELS: &[u8; 5] = b"aeiou";
    const ENDINGS: [&[u8]; 8] = [b"", b"", b"n", b"s", b"r", b"l", b"th", b"nts"];
    let mut word = Vec::with_capacity(10);
    let mut left = rank;
    loop {
        let syllable = left % 70;
        word.extend([CONSONANTS[syllable % 14], VOWELS[syllable / 14]]);
        if left < 70 {
            break;
        }
        left = left / 70 - 1;
    }
    word.extend_from_slice(ENDINGS[mix(rank as u64) as usize % 8]);
    word
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Random, word};

    #[test]
    fn no_two_ranks_have_the_same_word() {
        let words: HashSet<_> = (0..1 << 18).map(word).collect();
        assert_eq!(words.len(), 1 << 18);
    }

    #[test]
    fn ranks_are_in_range_and_the_first_comes_most_often() {
        let mut random = Random::new(1, 0);
        let mut counts = vec![0; (1 << 10) - 1];
        (0..100_000).for_each(|_| counts[random.rank(10)] += 1);
        assert!(counts.iter().all(|count| *count <= counts[0]), "{counts:?}");
        assert!(counts[0] > 9000 && counts.last() > Some(&0), "{counts:?}");
    }

    #[test]
    fn a_stream_is_the_same_every_time() {
        let mut random = Random::new(3, 7);
        let numbers: Vec<_> = (0..3).map(|_| random.below(1000)).collect();
        let mut again = Random::new(3, 7);
        assert_eq!(numbers, (0..3).map(|_| again.below(1000)).collect::<Vec<_>>());
        let mut other = Random::new(3, 8);
        assert_ne!(numbers, (0..3).map(|_| other.below(1000)).collect::<Vec<_>>());
    }
}
