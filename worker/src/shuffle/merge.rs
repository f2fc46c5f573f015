//! Merges sorted runs by a loser tree: log₂ k comparisons a record, half of a heap's.
//!
//! ```text
//!            winner
//!              │
//!            [ 1 ]            each inner node keeps the loser of the match below it;
//!           /     \           to go on, the winner's run advances and plays up its path
//!        [ 2 ]   [ 3 ]
//!        /  \     /  \
//!       r0  r1   r2  r3       runs
//! ```

use std::cmp::Ordering;

use super::read::RunReader;
use super::run::Run;
use super::stream::PairStream;
use crate::error::Result;
use crate::record::block::BLOCK_BYTES;

/// The pairs of several runs in sort order. Of equal keys, those of an earlier run come first.
#[derive(Debug)]
pub struct Merge {
    runs: Vec<RunReader>,
    /// Whether a run has a current record.
    live: Vec<bool>,
    /// `tree[0]` is the winner, `tree[i]` the loser of the match at inner node `i`.
    tree: Vec<u32>,
    started: bool,
    values_sorted: bool,
}

impl Merge {
    /// A merge before its first pair. With `values_sorted`, the runs and it are in the order of the
    /// values too.
    pub fn new(runs: Vec<Run>, values_sorted: bool) -> Self {
        let readers: Vec<_> = runs.into_iter().filter(|run| run.records > 0).map(RunReader::new).collect();
        Self {
            live: vec![false; readers.len()],
            tree: vec![0; readers.len()],
            runs: readers,
            started: false,
            values_sorted,
        }
    }

    /// Whether run `a`'s record comes before run `b`'s. A run at its end comes last.
    #[inline]
    fn before(&self, a: u32, b: u32) -> bool {
        let (i, j) = (a as usize, b as usize);
        if !(self.live[i] && self.live[j]) {
            return if self.live[i] == self.live[j] { a < b } else { self.live[i] };
        }
        let (x, y) = (&self.runs[i], &self.runs[j]);
        match x.prefix().cmp(&y.prefix()).then_with(|| x.compare_keys(y)) {
            Ordering::Equal if self.values_sorted => x.compare_values(y).then(a.cmp(&b)) == Ordering::Less,
            Ordering::Equal => a < b,
            other => other == Ordering::Less,
        }
    }

    fn start(&mut self) -> Result<bool> {
        self.started = true;
        let k = self.runs.len();
        if k == 0 {
            return Ok(false);
        }
        for (run, live) in self.runs.iter_mut().zip(&mut self.live) {
            *live = run.advance_to_key()?;
        }
        // Node i's children are 2i and 2i+1; nodes k.. are the runs themselves.
        let mut winners = vec![0; 2 * k];
        for node in (1..2 * k).rev() {
            winners[node] = if node >= k {
                (node - k) as u32
            } else {
                let (a, b) = (winners[2 * node], winners[2 * node + 1]);
                let (winner, loser) = if self.before(a, b) { (a, b) } else { (b, a) };
                self.tree[node] = loser;
                winner
            };
        }
        self.tree[0] = winners[1];
        self.load(winners[1])
    }

    /// Has the value of the run that is first; whether there is one.
    #[inline]
    fn load(&mut self, first: u32) -> Result<bool> {
        if !self.live[first as usize] {
            return Ok(false);
        }
        self.runs[first as usize].load().map(|()| true)
    }
}

impl PairStream for Merge {
    #[inline]
    fn advance(&mut self) -> Result<bool> {
        if !self.started {
            return self.start();
        }
        let Some(&winner) = self.tree.first() else { return Ok(false) };
        if !self.live[winner as usize] {
            return Ok(false);
        }
        self.live[winner as usize] = self.runs[winner as usize].advance_to_key()?;
        let mut champion = winner;
        let mut node = usize::midpoint(winner as usize, self.runs.len());
        while node > 0 {
            if self.before(self.tree[node], champion) {
                std::mem::swap(&mut self.tree[node], &mut champion);
            }
            node /= 2;
        }
        self.tree[0] = champion;
        self.load(champion)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.runs[self.tree[0] as usize].key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.runs[self.tree[0] as usize].value()
    }

    #[inline]
    fn prefix(&self) -> u64 {
        self.runs[self.tree[0] as usize].prefix()
    }
}

/// How much is merged at once.
#[derive(Clone, Copy, Debug)]
pub struct FanIn(pub usize);

impl FanIn {
    /// As many runs as fit `memory` with a block each.
    pub fn for_memory(memory: u64) -> Self {
        let per_run = 3 * BLOCK_BYTES as u64;
        Self(usize::try_from(memory / per_run).unwrap_or(usize::MAX).clamp(8, 1000))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::combine::merge_down;
    use super::super::run::{Run, RunWriter};
    use super::super::spec::ShuffleSpec;
    use super::{Merge, PairStream};
    use crate::record::block::BlockCodec;
    use crate::record::spill_store::SpillStore;

    type Pair = (Vec<u8>, Vec<u8>);

    fn run(pairs: &[Pair], spill_store: &Arc<SpillStore>) -> Run {
        let mut writer = RunWriter::new(spill_store);
        pairs.iter().for_each(|(key, value)| writer.push(key, value).unwrap());
        writer.end(&Arc::from("run")).unwrap()
    }

    fn read(runs: Vec<Run>) -> Vec<Pair> {
        let (mut merge, mut pairs) = (Merge::new(runs, false), Vec::new());
        while merge.advance().unwrap() {
            pairs.push((merge.key().to_vec(), merge.value().to_vec()));
        }
        assert!(!merge.advance().unwrap(), "the end stays the end");
        pairs
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn merged_runs_equal_a_stable_sort(
            lists in proptest::collection::vec(
                proptest::collection::vec((proptest::collection::vec(0u8..3, 0..12), 0u32..1_000_000), 0..40), 0..9),
            most in 2usize..5,
            memory in prop_oneof![Just(0u64), Just(1 << 20)],
        ) {
            let dir = tempfile::tempdir().unwrap();
            let spill_store = SpillStore::new(memory, dir.path().to_owned(), BlockCodec::Lz4);
            let mut expected: Vec<Pair> = Vec::new();
            let mut runs = Vec::new();
            for list in &lists {
                let mut pairs: Vec<Pair> =
                    list.iter().map(|(key, value)| (key.clone(), value.to_string().into_bytes())).collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                runs.push(run(&pairs, &spill_store));
                expected.extend(pairs);
            }
            expected.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(read(runs.clone()), expected.clone());
            let fewer = merge_down(runs, most, &spill_store, &ShuffleSpec::default(), None).unwrap();
            prop_assert!(fewer.len() <= most);
            prop_assert_eq!(read(fewer), expected);
        }
    }

    #[test]
    fn no_more_runs_are_merged_than_have_to_be() {
        let dir = tempfile::tempdir().unwrap();
        let spill_store = SpillStore::new(1 << 20, dir.path().to_owned(), BlockCodec::None);
        let pair = |key: u8| (vec![key], Vec::new());
        let runs = (0..10).map(|key| run(&[pair(key)], &spill_store)).collect();
        let fewer = merge_down(runs, 8, &spill_store, &ShuffleSpec::default(), None).unwrap();
        assert_eq!(fewer.iter().map(|run| run.records).collect::<Vec<_>>(), [3, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(read(fewer), (0..10).map(pair).collect::<Vec<_>>());
    }

    #[test]
    fn runs_of_many_blocks_and_long_records_are_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        for (memory, codec) in [(0, BlockCodec::None), (0, BlockCodec::Zstd), (1 << 30, BlockCodec::Zstd)] {
            let spill_store = SpillStore::new(memory, dir.path().to_owned(), codec);
            let pairs: Vec<Pair> = (0..3000u32)
                .map(|i| {
                    (format!("{i:06}").into_bytes(), vec![i as u8; if i == 1500 { 3 << 20 } else { 700 }])
                })
                .collect();
            assert!(read(vec![run(&pairs, &spill_store)]) == pairs, "{codec:?} {memory}");
        }
    }

    #[test]
    fn large_keys_are_in_order_wherever_they_differ() {
        let dir = tempfile::tempdir().unwrap();
        // Equal in the first bytes, in all that is read at first, in all but the last, in length or in nothing.
        let key = |differs: usize, last: u8| {
            let mut key = vec![b'k'; 300_000];
            key[differs] = last;
            key
        };
        let mut keys: Vec<Vec<u8>> = (0..20)
            .map(|i| key([0, 9, 5000, 299_999][i % 4], b"azk"[i % 3]))
            .chain([vec![b'k'; 300_001], vec![b'k'; 299_999], b"kk".to_vec()])
            .collect();
        for (memory, values_sorted) in [(0, false), (0, true), (1 << 30, true)] {
            let spill_store = SpillStore::new(memory, dir.path().to_owned(), BlockCodec::Lz4);
            let runs = keys
                .iter()
                .enumerate()
                .map(|(i, key)| run(&[(key.clone(), vec![99 - i as u8])], &spill_store));
            let (mut merge, mut merged) = (Merge::new(runs.collect(), values_sorted), Vec::new());
            while merge.advance().unwrap() {
                merged.push((merge.key().to_vec(), merge.value().to_vec()));
            }
            let mut expected: Vec<Pair> =
                keys.iter().enumerate().map(|(i, key)| (key.clone(), vec![99 - i as u8])).collect();
            if values_sorted {
                expected.sort();
            } else {
                expected.sort_by(|a, b| a.0.cmp(&b.0));
            }
            assert!(merged == expected, "{memory} {values_sorted}");
            keys.rotate_left(7);
        }
    }
}
