//! Large vectors on huge pages.
//!
//! Pairs are visited in sort order, which is all over a buffer of hundreds of megabytes. With pages of 4 KiB nearly
//! each visit misses the processor's translation cache as well as its data caches, and on a virtual machine a
//! translation is looked up in two tables. Pages of 2 MiB are few enough to stay known. Linux gives them to those
//! who ask (`/sys/kernel/mm/transparent_hugepage/enabled` says `madvise` or `always`); elsewhere nothing changes.

/// Below this the pages that are touched in part would count.
const LEAST: usize = 32 << 20;

/// An empty vector for `capacity` elements, none of which takes memory before it is pushed.
pub(super) fn with_capacity<T>(capacity: usize) -> Vec<T> {
    #[cfg_attr(not(target_os = "linux"), expect(unused_mut))]
    let mut vec = Vec::with_capacity(capacity);
    #[cfg(target_os = "linux")]
    if capacity * size_of::<T>() >= LEAST {
        ask_for_huge_pages(&mut vec);
    }
    vec
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn ask_for_huge_pages<T>(vec: &mut Vec<T>) {
    use rustix::mm::{Advice, madvise};

    let page = rustix::param::page_size();
    let start = vec.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(page);
    let bytes = (vec.capacity() * size_of::<T>()).saturating_sub(skipped) / page * page;
    // SAFETY: these pages are the vector's own, and the advice changes what backs them, never what is in them.
    let asked = unsafe { madvise(start.wrapping_add(skipped).cast(), bytes, Advice::LinuxHugepage) };
    if let Err(e) = asked {
        tracing::debug!("no huge pages for {bytes} bytes: {e}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{LEAST, with_capacity};

    /// The flags that the kernel has for the mapping that an address is in: `hg` says that huge pages are wanted.
    fn flags(address: usize) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        let holds = |line: &str| {
            let (from, to) = line.split_once(' ')?.0.split_once('-')?;
            let bound = |text| usize::from_str_radix(text, 16).ok();
            Some((bound(from)?..bound(to)?).contains(&address))
        };
        let mut mapping = maps.lines().skip_while(|line| holds(line) != Some(true));
        mapping.find_map(|line| line.strip_prefix("VmFlags:")).map(str::to_owned)
    }

    fn wants_huge_pages(vec: &Vec<u64>) -> bool {
        let middle = vec.as_ptr().addr() + vec.capacity() * size_of::<u64>() / 2;
        flags(middle).is_some_and(|flags| flags.split(' ').any(|flag| flag == "hg"))
    }

    #[test]
    fn a_large_vector_asks_for_huge_pages_and_a_small_one_does_not() {
        let (large, small) = (with_capacity::<u64>(LEAST), with_capacity::<u64>(100));
        if std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            assert!(wants_huge_pages(&large));
        }
        assert!(!wants_huge_pages(&small));
    }
}
