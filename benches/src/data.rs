//! The data sets, and what the right results are.
//!
//! | folder | what | results |
//! |---|---|---|
//! | `text/` | 1 GiB, lines of 80 to 100 bytes of words, 8 files | `wordcount` |
//! | `text64/` | 64 MiB of the like, 2 files | `wordcount64` |
//! | `small/` | 205 MB of the like, 10,000 files | `small` |
//! | `records/` | 1 GiB of records of 100 bytes: 10 random, the last a line's end, 8 files | `sort` |
//! | `sums/` | 20 million lines `key TAB number` of 10 million keys, 532 MiB, 8 files | `sum` |
//! | `weblog/` | 512 MiB of an access log, 8 files | `log`, `grep` |

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};

use crate::digest::{Digest, Expected, write};
use crate::random::{Random, mix, word};

const MIB: u64 = 1 << 20;
const FILES: usize = 8;

/// The right results of the works on a data set.
type Digests = Vec<(&'static str, Digest)>;

/// Writes all data sets into a folder, and what the right results are.
pub(crate) fn generate(dir: &Path, scale: f64) -> Result<()> {
    let scaled = |full: u64| ((full as f64 * scale) as u64).max(1);
    let mut expected = Expected::new();
    let mut make = |name: &str, make: &dyn Fn(&Path) -> Result<Digests>| {
        let (folder, start) = (dir.join(name), Instant::now());
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        for old in fs::read_dir(&folder)? {
            fs::remove_file(old?.path())?;
        }
        expected.extend(make(&folder)?.into_iter().map(|(work, digest)| (work.to_owned(), digest)));
        eprintln!("{}: {:.1} s", folder.display(), start.elapsed().as_secs_f64());
        anyhow::Ok(())
    };
    let bytes = scaled(128 * MIB);
    make("text", &|folder| text(folder, 1, FILES, |_| bytes).map(|digest| vec![("wordcount", digest)]))?;
    let bytes = scaled(32 * MIB);
    make("text64", &|folder| text(folder, 2, 2, |_| bytes).map(|digest| vec![("wordcount64", digest)]))?;
    let files = scaled(10_000) as usize;
    make("small", &|folder| {
        let bytes = |random: &mut Random| 16_384 + random.below(8192);
        text(folder, 3, files, bytes).map(|digest| vec![("small", digest)])
    })?;
    let count = scaled(128 * MIB) / RECORD as u64;
    make("records", &|folder| records(folder, count).map(|digest| vec![("sort", digest)]))?;
    let keys = scaled(10_000_000);
    make("sums", &|folder| sums(folder, keys).map(|digest| vec![("sum", digest)]))?;
    let bytes = scaled(64 * MIB);
    make("weblog", &|folder| weblog(folder, bytes).map(|(log, grep)| vec![("log", log), ("grep", grep)]))?;
    write(dir, &expected)
}

/// Writes files with two threads, each with something of its own to add up in.
fn files<A: Send>(
    folder: &Path,
    count: usize,
    make: impl Fn() -> A + Sync,
    write: impl Fn(usize, &mut BufWriter<File>, &mut A) -> Result<()> + Sync,
) -> Result<Vec<A>> {
    let next = AtomicUsize::new(0);
    let one = || {
        let mut all = make();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(all);
            }
            let path: PathBuf = folder.join(format!("part-{number:05}"));
            File::create(&path)
                .map_err(anyhow::Error::from)
                .and_then(|file| {
                    let mut out = BufWriter::with_capacity(1 << 20, file);
                    write(number, &mut out, &mut all)?;
                    Ok(out.flush()?)
                })
                .with_context(|| path.display().to_string())?;
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(one), scope.spawn(one)];
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).collect()
    })
}

/// The digest of `name TAB number` of what is not 0.
fn digest_of<'a>(pairs: impl Iterator<Item = (&'a [u8], u64)>) -> Digest {
    let (mut digest, mut line) = (Digest::default(), Vec::new());
    for (name, number) in pairs.filter(|(_, number)| *number > 0) {
        line.clear();
        line.extend_from_slice(name);
        line.extend_from_slice(format!("\t{number}").as_bytes());
        digest.add(&line);
    }
    digest
}

/// Adds up what the threads have counted.
fn total(counts: Vec<Vec<u64>>) -> Vec<u64> {
    let add = |mut a: Vec<u64>, b: Vec<u64>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    counts.into_iter().reduce(add).unwrap_or_default()
}

/// Different words: 2^18 - 1.
const WORD_OCTAVES: u32 = 18;

fn text(
    folder: &Path,
    stream: u64,
    count: usize,
    bytes: impl Fn(&mut Random) -> u64 + Sync,
) -> Result<Digest> {
    let words: Vec<_> = (0..(1 << WORD_OCTAVES) - 1).map(word).collect();
    let counts = files(
        folder,
        count,
        || vec![0; words.len()],
        |number, out, counts| {
            let mut random = Random::new(stream, number);
            let (most, mut written, mut line) = (bytes(&mut random), 0, Vec::new());
            while written < most {
                line.clear();
                let least = 79 + random.below(16) as usize;
                while line.len() < least {
                    let rank = random.rank(WORD_OCTAVES);
                    counts[rank] += 1;
                    line.extend_from_slice(&words[rank]);
                    line.push(b' ');
                }
                if let Some(end) = line.last_mut() {
                    *end = b'\n';
                }
                out.write_all(&line)?;
                written += line.len() as u64;
            }
            Ok(())
        },
    )?;
    Ok(digest_of(words.iter().map(Vec::as_slice).zip(total(counts))))
}

const RECORD: usize = 100;

/// Key, number, filling: text throughout, so that programs that know lines only can sort them too.
fn records(folder: &Path, count: u64) -> Result<Digest> {
    let digests = files(folder, FILES, Digest::default, |number, out, digest| {
        let mut random = Random::new(4, number);
        let mut record = [0; RECORD];
        for i in 0..count {
            let (mut a, mut b) = (random.next(), random.next());
            for at in 0..5 {
                record[at] = b'!' + (a % 94) as u8;
                record[at + 5] = b'!' + (b % 94) as u8;
                (a, b) = (a / 94, b / 94);
            }
            record[10] = b' ';
            hex(&mut record[11..27], number as u64 * count + i);
            record[27] = b' ';
            let filling = random.next();
            for (at, byte) in record[28..99].iter_mut().enumerate() {
                *byte = b'A' + (filling >> (at / 8 * 4) & 15) as u8;
            }
            record[99] = b'\n';
            digest.add(&record[..99]);
            out.write_all(&record)?;
        }
        Ok(())
    })?;
    let mut digest = Digest::default();
    digests.into_iter().for_each(|other| digest.merge(other));
    Ok(digest)
}

fn hex(out: &mut [u8], number: u64) {
    for (at, digit) in out.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * at) & 15) as usize];
    }
}

const KEY: usize = 22;

/// The key of a number: no two are the same, and neighbours have nothing in common.
fn key(number: u64) -> [u8; KEY] {
    let mut key = [b':'; KEY];
    let scattered = mix(number + 1);
    hex(&mut key[..16], scattered);
    let mut left = scattered % 99_991;
    for digit in key[17..].iter_mut().rev() {
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
    }
    key
}

/// Two lines a key. Every other line takes the next key of a permutation, so that each is there; the others
/// take any.
fn sums(folder: &Path, keys: u64) -> Result<Digest> {
    /// A prime, so that it steps on every key.
    const STEP: u64 = 982_451_653;
    let sums = files(
        folder,
        FILES,
        || vec![0; keys as usize],
        |number, out, sums| {
            let mut random = Random::new(5, number);
            let place = |file: usize| 2 * keys * file as u64 / FILES as u64;
            for i in place(number)..place(number + 1) {
                let k = if i % 2 == 0 { i / 2 * STEP % keys } else { random.below(keys) };
                let value = 1 + random.below(9999);
                sums[k as usize] += value;
                out.write_all(&key(k))?;
                writeln!(out, "\t{value}")?;
            }
            Ok(())
        },
    )?;
    let sums = total(sums);
    let names: Vec<_> = (0..keys).map(key).collect();
    Ok(digest_of(names.iter().map(<[u8; KEY]>::as_slice).zip(sums)))
}

/// Different paths: 2^15 - 1.
const PATH_OCTAVES: u32 = 15;

/// Bytes sent for each path, and how often each text was found.
#[derive(Default)]
struct Log {
    sent: Vec<u64>,
    found: BTreeMap<String, u64>,
}

/// An access log in the combined format. About 20 lines of a million look for a hole in the server.
fn weblog(folder: &Path, bytes: u64) -> Result<(Digest, Digest)> {
    let paths: Vec<_> = (0..(1 << PATH_OCTAVES) - 1).map(path).collect();
    let log = files(
        folder,
        FILES,
        || Log { sent: vec![0; paths.len()], ..Log::default() },
        |number, out, log| {
            let (mut random, mut written, mut line) = (Random::new(6, number), 0, Vec::new());
            while written < bytes {
                line.clear();
                log_line(&mut line, written / 150, &mut random, &paths, log)?;
                out.write_all(&line)?;
                written += line.len() as u64;
            }
            Ok(())
        },
    )?;
    let (mut sent, mut found) = (Vec::new(), BTreeMap::<String, u64>::new());
    for log in log {
        sent.push(log.sent);
        log.found.into_iter().for_each(|(text, n)| *found.entry(text).or_default() += n);
    }
    let sent = digest_of(paths.iter().map(String::as_bytes).zip(total(sent)));
    Ok((sent, digest_of(found.iter().map(|(text, n)| (text.as_bytes(), *n)))))
}

fn path(rank: usize) -> String {
    const FOLDERS: [&str; 8] =
        ["products", "blog", "api/v1/items", "static/img", "static/js", "account", "docs/guide", "tags"];
    const ENDINGS: [&str; 6] = ["", ".html", ".php", ".png", ".js", ".json"];
    let random = mix(rank as u64 + 7) as usize;
    let name = String::from_utf8_lossy(&word(random % 4900 + 70)).into_owned();
    format!("/{}/{name}-{rank}{}", FOLDERS[random >> 20 & 7], ENDINGS[(random >> 32) % 6])
}

fn log_line(
    out: &mut Vec<u8>,
    second: u64,
    random: &mut Random,
    paths: &[String],
    log: &mut Log,
) -> Result<()> {
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "curl/8.5.0",
    ];
    const STATUS: [u16; 16] =
        [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 304, 301, 404, 500];
    let (ip, kind, rank) = (random.next(), random.below(1_000_000), random.rank(PATH_OCTAVES));
    let status = STATUS[(ip >> 44) as usize % 16];
    // With headers, so that no path's sum is 0 and what was asked for is what is in the result.
    let sent = if status == 304 { 180 } else { 200 + random.below(60_000) };
    log.sent[rank] += sent;
    let query = if kind < 20 {
        let space = if kind % 2 == 0 { "%20" } else { "+" };
        let query = format!("?id={}{space}UNION{space}SELECT", ip % 100);
        *log.found.entry(query.clone()).or_default() += 1;
        query
    } else if kind < 250_000 {
        format!("?id={}&page={}", ip % 100_000, kind % 17)
    } else {
        String::new()
    };
    write!(
        out,
        "{}.{}.{}.{} - - [{:02}/Oct/2026:{:02}:{:02}:{:02} +0000] \"{} {}{query} HTTP/1.1\" {status} {sent} ",
        1 + (ip >> 8) % 223,
        ip >> 16 & 255,
        ip >> 24 & 255,
        ip >> 32 & 255,
        1 + second / 86_400 % 31,
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
        if (ip >> 40).is_multiple_of(16) { "POST" } else { "GET" },
        paths[rank],
    )?;
    let agent = AGENTS[(ip >> 50) as usize % 4];
    if kind % 2 == 0 {
        writeln!(out, "\"-\" \"{agent}\"")?;
    } else {
        writeln!(out, "\"https://www.example.com{}\" \"{agent}\"", paths[random.rank(PATH_OCTAVES)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use super::generate;
    use crate::digest::check;

    /// All lines of a data set.
    fn lines(folder: &Path) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .iter()
            .flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    /// The sums of pairs, as a result would have them.
    fn summed(pairs: impl Iterator<Item = (String, u64)>) -> Vec<String> {
        let mut sums = BTreeMap::<_, u64>::new();
        pairs.for_each(|(key, n)| *sums.entry(key).or_default() += n);
        sums.into_iter().map(|(key, n)| format!("{key}\t{n}")).collect()
    }

    #[test]
    fn the_right_results_are_those_of_the_data() {
        let dir = tempfile::tempdir().unwrap();
        generate(dir.path(), 0.002).unwrap();
        let lines = |name| lines(&dir.path().join(name));
        let words = |name| {
            let lines = lines(name);
            summed(lines.iter().flat_map(|line| line.split(' ')).map(|word| (word.to_owned(), 1)))
        };
        let mut records = lines("records");
        records.sort();
        let sums = lines("sums").into_iter().map(|line| {
            let (key, n) = line.split_once('\t').unwrap();
            (key.to_owned(), n.parse().unwrap())
        });
        let log = lines("weblog");
        let sent = log.iter().map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            (fields[6].split('?').next().unwrap().to_owned(), fields[9].parse().unwrap())
        });
        let found = log.iter().filter(|line| line.contains("UNION")).map(|line| {
            let from = line.find('?').unwrap();
            (line[from..from + line[from..].find(' ').unwrap()].to_owned(), 1)
        });
        for (work, result) in [
            ("wordcount", words("text")),
            ("wordcount64", words("text64")),
            ("small", words("small")),
            ("sort", records),
            ("sum", summed(sums)),
            ("log", summed(sent)),
            ("grep", summed(found)),
        ] {
            let part = dir.path().join("part-0");
            fs::write(&part, result.join("\n")).unwrap();
            check(work, dir.path(), 1, &[part]).unwrap();
        }
    }

    #[test]
    fn the_same_scale_gives_the_same_data() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for dir in &dirs {
            generate(dir.path(), 0.001).unwrap();
        }
        for name in ["text", "small", "records", "sums", "weblog"] {
            let [one, other] = [0, 1].map(|i: usize| lines(&dirs[i].path().join(name)));
            assert!(one == other && !one.is_empty(), "{name}");
        }
    }
}
