//! The engine's inner loops, each by itself.
//!
//! ```sh
//! cargo bench -p mapreduce-benches               # all
//! cargo bench -p mapreduce-benches -- merge      # those with `merge` in their name
//! ```

use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mapreduce_api::v1alpha1::{Function, Input};
use mapreduce_worker::function::builtin::{BuiltinMap, BuiltinReduce};
use mapreduce_worker::record::Mapper;
use mapreduce_worker::record::block::{BlockCodec, BlockHeader, BlockWriter, HEADER};
use mapreduce_worker::record::chunk::Chunk;
use mapreduce_worker::record::format::Format;
use mapreduce_worker::record::lines::{Lines, SLACK};
use mapreduce_worker::record::spill_store::SpillStore;
use mapreduce_worker::scratch::ScratchPlace;
use mapreduce_worker::shuffle::collector::{Collector, MapSideCombine};
use mapreduce_worker::shuffle::merge::Merge;
use mapreduce_worker::shuffle::partition::KeyPartitioner;
use mapreduce_worker::shuffle::run::{Run, RunWriter};
use mapreduce_worker::shuffle::sort::SortBuffer;
use mapreduce_worker::shuffle::spec::ShuffleSpec;
use mapreduce_worker::shuffle::stream::PairStream as _;
use mapreduce_worker::shuffle::table::SumTable;

/// Pairs that a kernel is given: more than the processor's caches hold.
const PAIRS: usize = 500_000;
const MEMORY: usize = 256 << 20;

/// Numbers without a pattern, the same every time (xorshift64).
fn numbers() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(0x9e37_79b9_7f4a_7c15u64), |n| {
        let n = n ^ (n << 13);
        let n = n ^ (n >> 7);
        Some(n ^ (n << 17))
    })
}

/// Words, few of them often and many seldom.
fn words() -> impl Iterator<Item = Vec<u8>> {
    numbers().map(|n| {
        let rank = (n >> 32) % (1 << (1 + n % 18));
        format!("w{:x}", rank.wrapping_mul(0x9e37) & 0xf_ffff).into_bytes()
    })
}

/// Records of 100 bytes, of which 10 are the key.
fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let record = |n: u64| (format!("{:010x}", n >> 24).into_bytes(), vec![b'x'; 90]);
    numbers().take(PAIRS).map(record).collect()
}

/// Words and ones.
fn texts() -> Vec<(Vec<u8>, Vec<u8>)> {
    words().take(PAIRS).map(|word| (word, b"1".to_vec())).collect()
}

fn bytes(pairs: &[(Vec<u8>, Vec<u8>)]) -> Throughput {
    Throughput::Bytes(pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
}

fn right<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn space() -> Arc<SpillStore> {
    SpillStore::new(1 << 32, std::env::temp_dir(), BlockCodec::None)
}

/// A chunk of text, and what its words are added up in.
fn tokenise(c: &mut Criterion) {
    let mut text: Vec<u8> = Vec::new();
    for (i, word) in words().enumerate().take_while(|(i, _)| *i < PAIRS) {
        text.extend(word);
        text.push(if i % 15 == 14 { b'\n' } else { b' ' });
    }
    let len = text.len();
    text.resize(len + SLACK, 0);
    let input: Input = right(serde_json::from_str(r#"{"urls": ["file:text"]}"#));
    let (format, url) = (Format::new(&input), Arc::from("file:text"));
    let lines = Lines { bytes: &text[..len], padded: &text, offset: 0 };
    let chunk = Chunk::new(lines, &format, &url);
    let mut words: Box<dyn Mapper<Collector>> = right(BuiltinMap::new(&Function::builtin("words"))).make();
    let mut out = Collector::for_shuffle(
        KeyPartitioner::hash(1),
        &ShuffleSpec::default(),
        Some(MapSideCombine {
            combiner: right(BuiltinReduce::new(&Function::builtin("sum")))
                .combiner(&ScratchPlace::new(std::env::temp_dir(), MEMORY)),
            combine_stats: Some(Arc::default()),
        }),
        MEMORY,
        &space(),
        Arc::from(""),
    );
    let mut group = c.benchmark_group("tokenise");
    group.throughput(Throughput::Bytes(len as u64));
    group.bench_function("words", |b| b.iter(|| right(words.map_chunk(&chunk, &mut out))));
    group.finish();
}

/// Fills a buffer and takes its pairs in order.
fn sort(c: &mut Criterion) {
    let mut group = c.benchmark_group("sort");
    group.sample_size(20);
    for (name, pairs) in [("records", records()), ("words", texts())] {
        group.throughput(bytes(&pairs));
        let mut buffer = SortBuffer::new(8, MEMORY);
        group.bench_function(name, |b| {
            b.iter(|| {
                for (key, value) in &pairs {
                    buffer.push(u32::from(key[key.len() - 1] % 8), key, value);
                }
                right(buffer.drain(false, |_, mut sorted| {
                    while sorted.advance()? {
                        black_box(sorted.key());
                    }
                    Ok(())
                }));
            });
        });
    }
    group.finish();
}

fn runs(mut pairs: Vec<(Vec<u8>, Vec<u8>)>, count: usize) -> Vec<Run> {
    let (space, name) = (space(), Arc::from("a run"));
    let run = |pairs: &mut [(Vec<u8>, Vec<u8>)]| {
        pairs.sort();
        let mut writer = RunWriter::new(&space);
        pairs.iter().for_each(|(key, value)| right(writer.push(key, value)));
        right(writer.end(&name))
    };
    let size = pairs.len().div_ceil(count);
    pairs.chunks_mut(size).map(run).collect()
}

/// 16 runs in memory to one.
fn merge(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group.sample_size(20);
    for (name, pairs) in [("records", records()), ("words", texts())] {
        group.throughput(bytes(&pairs));
        let runs = runs(pairs, 16);
        group.bench_function(BenchmarkId::new(name, runs.len()), |b| {
            b.iter_batched(
                || Merge::new(runs.clone(), false),
                |mut merge| {
                    while right(merge.advance()) {
                        black_box(merge.key());
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Sums in a table that fits the processor's caches, and in one that doesn't.
fn aggregate(c: &mut Criterion) {
    let mut group = c.benchmark_group("aggregate");
    group.throughput(Throughput::Elements(PAIRS as u64));
    for (name, keys) in [("few-keys", 1000), ("many-keys", PAIRS as u64)] {
        let pairs: Vec<_> = numbers().take(PAIRS).map(|n| format!("{:012}", n % keys)).collect();
        group.bench_function(name, |b| {
            b.iter_batched(
                || SumTable::new(MEMORY),
                |mut table| {
                    pairs.iter().for_each(|key| right(table.add(key.as_bytes(), b"42")));
                    table
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// One block of sorted words, there and back.
fn block(c: &mut Criterion) {
    let mut pairs = texts();
    pairs.truncate(20_000);
    pairs.sort();
    for codec in [BlockCodec::None, BlockCodec::Lz4, BlockCodec::Zstd] {
        let mut writer = BlockWriter::new(codec);
        let mut encoded = Vec::new();
        let mut encode = |out: &mut Vec<u8>| {
            out.clear();
            for (key, value) in &pairs {
                writer.push(key, value);
            }
            right(writer.end(out));
        };
        encode(&mut encoded);
        let Some((header, payload)) = encoded.split_first_chunk::<HEADER>() else { return };
        let (header, mut raw) = (right(BlockHeader::parse(header)), Vec::new());
        let name = format!("{codec:?}").to_lowercase();
        let mut group = c.benchmark_group("block");
        group.throughput(Throughput::Bytes(header.raw.into()));
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new("encode", &name), |b| b.iter(|| encode(&mut out)));
        group.bench_function(BenchmarkId::new("decode", &name), |b| {
            b.iter(|| black_box(right(header.decode(payload, &mut raw)).len()));
        });
        group.finish();
    }
}

criterion_group!(kernels, tokenise, sort, merge, aggregate, block);
criterion_main!(kernels);
