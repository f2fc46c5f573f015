//! Local files. Names are taken as written: nothing is percent-decoded.

mod open;
mod walk;

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use self::open::{FileReader, StagedFile, Unchanged};
use self::walk::{entry, missing, not_utf8, walk, walk_unfollowed};
use super::stream::{self, is_stream};
use super::{Contents, Created, ListedObject, Listing, Staged, StagedWriter, Store};
use crate::error::{Error, IoContext as _, Result};
use crate::machine::random;

/// What the names of temporary files begin with: as a work folder's, so that what a process that was killed
/// leaves is known as a run's own.
const TEMPORARY: &str = "_mapreduce-";

/// How often a file is created whose temporary file goes.
const CREATE_TRIES: u32 = 5;

/// The file system of this machine; keys are absolute paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileStore;

impl Store for FileStore {
    fn list(&self, prefix: &str, recursive: bool) -> Result<Vec<ListedObject>> {
        let Listing { entries, unnamed, .. } = self.survey(prefix, recursive)?;
        match unnamed.first() {
            None => Ok(entries),
            Some(path) => Err(not_utf8(path)),
        }
    }

    fn survey(&self, prefix: &str, recursive: bool) -> Result<Listing> {
        let mut found = Listing::default();
        match fs::metadata(prefix) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(e) => return Err(Error::from(e).context(format!("can't list file://{prefix}"))),
            Ok(_) => {}
        }
        let mut above = Vec::new();
        walk(Path::new(prefix), recursive, &mut above, &mut found)?;
        found.entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        found.unnamed.sort_unstable();
        Ok(found)
    }

    fn contents(&self, prefix: &str) -> Result<Contents> {
        let path = Path::new(prefix.trim_end_matches('/'));
        let mut contents = Contents {
            link_to: fs::read_link(path).ok().map(|to| to.display().to_string()),
            ..Contents::default()
        };
        if fs::metadata(prefix).is_ok_and(|meta| meta.is_dir()) {
            walk_unfollowed(Path::new(prefix), &mut contents.keys)?;
        }
        contents.keys.sort_unstable();
        Ok(contents)
    }

    fn head(&self, key: &str) -> Result<Option<ListedObject>> {
        match fs::metadata(key) {
            Ok(meta) if meta.is_dir() => Ok(None),
            Ok(meta) if !meta.is_file() => Ok(Some(stream::entry(key))),
            Ok(meta) => Ok(Some(entry(key.to_owned(), &meta))),
            Err(e) if missing(&e) => Ok(None),
            Err(e) => Err(Error::from(e).context(format!("can't read file://{key}"))),
        }
    }

    fn open(&self, entry: &ListedObject, range: Range<u64>) -> Result<Box<dyn Read + Send>> {
        if is_stream(entry.version.as_deref()) {
            return stream::open(&entry.key);
        }
        let what = || format!("can't read file://{}", entry.key);
        let mut file = File::open(&entry.key).context(what)?;
        let unchanged = Unchanged { key: entry.key.clone(), version: entry.version.clone() };
        unchanged.check(&file)?;
        if range.start > 0 {
            file.seek(SeekFrom::Start(range.start)).context(what)?;
        }
        Ok(Box::new(FileReader { file, left: range.end - range.start, unchanged }))
    }

    fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        let what = || format!("can't read file://{key}");
        let file = File::open(key).context(what)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).context(what)?;
        Ok(bytes)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.start(key, u64::MAX)
    }

    fn start(&self, key: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let read = File::open(key).and_then(|file| file.take(most).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(e) if missing(&e) => Ok(None),
            Err(e) => Err(Error::from(e).context(format!("can't read file://{key}"))),
        }
    }

    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let temporary = write_beside(key, &bytes)?;
        fs::rename(&temporary, key).context(|| format!("can't write file://{key}"))
    }

    fn create(&self, key: &str, bytes: Vec<u8>) -> Result<Created> {
        let mut tries = 0;
        loop {
            let temporary = write_beside(key, &bytes)?;
            // A hard link is the atomic create: it fails where there is a file, and the file is whole.
            let linked = fs::hard_link(&temporary, key);
            let _ = fs::remove_file(&temporary);
            tries += 1;
            match linked {
                Ok(()) => return Ok(Created::New),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Created::Exists),
                // Another run that replaces what is there has taken it for something that a dead one left.
                Err(e) if missing(&e) && tries < CREATE_TRIES => {}
                Err(e) => return Err(Error::from(e).context(format!("can't write file://{key}"))),
            }
        }
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        for key in keys {
            match fs::remove_file(key) {
                Err(e) if !missing(&e) => {
                    return Err(Error::from(e).context(format!("can't remove file://{key}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn stage(&self, key: &str, work: &str) -> Result<Box<dyn StagedWriter>> {
        let name = Path::new(key).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = PathBuf::from(format!("{work}{name}.{}", unique()));
        make_parent(&path)?;
        let file = File::create_new(&path).context(|| format!("can't write file://{}", path.display()))?;
        Ok(Box::new(StagedFile { file, path, key: key.to_owned(), finished: false }))
    }

    fn complete(&self, key: &str, staged: &Staged) -> Result<Created> {
        let Staged::File { path } = staged else { return Err(wrong_kind(key)) };
        make_parent(Path::new(key))?;
        match fs::rename(path, key) {
            // Somebody has completed it before us.
            Err(e) if missing(&e) && Path::new(key).exists() => Ok(Created::Exists),
            other => other.map(|()| Created::New).context(|| format!("can't write file://{key}")),
        }
    }

    fn complete_new(&self, key: &str, staged: &Staged) -> Result<Created> {
        let Staged::File { path } = staged else { return Err(wrong_kind(key)) };
        make_parent(Path::new(key))?;
        match fs::hard_link(path, key) {
            Ok(()) => {
                let _ = fs::remove_file(path);
                Ok(Created::New)
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Created::Exists),
            Err(e) if missing(&e) && Path::new(key).exists() => Ok(Created::Exists),
            Err(e) => Err(Error::from(e).context(format!("can't write file://{key}"))),
        }
    }

    fn abort(&self, key: &str, staged: &Staged) -> Result<()> {
        let Staged::File { path } = staged else { return Err(wrong_kind(key)) };
        self.delete(std::slice::from_ref(path))
    }

    fn delete_below(&self, prefix: &str, keys: &[String]) -> Result<()> {
        self.delete(keys)?;
        for key in keys {
            let above = Path::new(key).ancestors().skip(1);
            // Those that hold something more stay, and so does all that is above them.
            let _ = above
                .take_while(|folder| folder.as_os_str().len() >= prefix.len())
                .try_for_each(fs::remove_dir);
        }
        Ok(())
    }

    fn delete_prefix(&self, prefix: &str) -> Result<()> {
        // With a `/` after it a link would be what it leads to.
        match fs::remove_dir_all(prefix.trim_end_matches('/')) {
            Err(e) if !missing(&e) => Err(Error::from(e).context(format!("can't remove file://{prefix}"))),
            _ => Ok(()),
        }
    }
}

fn wrong_kind(key: &str) -> Error {
    Error::permanent(format!("the commit record of file://{key} was not written by this kind of store"))
}

/// A name that no other process or thread uses.
fn unique() -> String {
    // Every container has a process 1, and several may share a volume.
    random::name().to_string()
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => {
            fs::create_dir_all(parent).context(|| format!("can't make folder {}", parent.display()))
        }
        None => Ok(()),
    }
}

fn write_beside(key: &str, bytes: &[u8]) -> Result<PathBuf> {
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    let path = PathBuf::from(format!("{folder}/{TEMPORARY}{name}.{}.tmp", unique()));
    make_parent(&path)?;
    fs::write(&path, bytes).map_err(|e| {
        let _ = fs::remove_file(&path);
        Error::from(e).context(format!("can't write file://{key}"))
    })?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::{Created, FileStore, Staged, Store};

    fn folder() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let prefix = format!("{}/", dir.path().display());
        (dir, prefix)
    }

    #[test]
    fn only_the_first_create_writes() {
        let (_dir, prefix) = folder();
        let key = format!("{prefix}deep/record");
        assert_eq!(FileStore.create(&key, b"one".to_vec()).unwrap(), Created::New);
        assert_eq!(FileStore.create(&key, b"two".to_vec()).unwrap(), Created::Exists);
        assert_eq!(FileStore.get(&key).unwrap().unwrap(), b"one");
        assert_eq!(FileStore.list(&prefix, true).unwrap().len(), 1, "no temporary file is left");
    }

    #[test]
    fn staged_data_appears_when_it_is_completed_and_only_once() {
        let (_dir, prefix) = folder();
        let key = format!("{prefix}out/part-00000");
        let mut writer = FileStore.stage(&key, &format!("{prefix}work/")).unwrap();
        writer.write(b"data").unwrap();
        let staged = writer.finish().unwrap();
        assert_eq!(FileStore.get(&key).unwrap(), None);
        FileStore.complete(&key, &staged).unwrap();
        FileStore.complete(&key, &staged).unwrap();
        assert_eq!(FileStore.get(&key).unwrap().unwrap(), b"data");
        let Staged::File { path } = staged else { panic!() };
        assert!(!std::path::Path::new(&path).exists());
    }

    #[test]
    fn a_file_that_changed_since_it_was_listed_is_an_error() {
        let (_dir, prefix) = folder();
        let key = format!("{prefix}a");
        std::fs::write(&key, "short").unwrap();
        let entry = FileStore.head(&key).unwrap().unwrap();
        std::fs::write(&key, "longer than before").unwrap();
        let Err(error) = FileStore.open(&entry, 0..5) else { panic!("it was read") };
        assert!(error.to_string().contains("changed while"), "{error}");
    }

    #[test]
    fn a_deletion_sees_links_themselves_and_removes_no_more() {
        let (_dir, prefix) = folder();
        for name in ["prod/deep/f", "out/d/e/part"] {
            FileStore.put(&format!("{prefix}{name}"), b"x".to_vec()).unwrap();
        }
        let out = format!("{prefix}out/");
        std::fs::create_dir(format!("{out}empty")).unwrap();
        for link in ["latest", "d/link", "part-00000"] {
            std::os::unix::fs::symlink(format!("{prefix}prod"), format!("{out}{link}")).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", format!("{out}dangling")).unwrap();
        let contents = FileStore.contents(&out).unwrap();
        let names: Vec<_> = contents.keys.iter().map(|key| &key[out.len()..]).collect();
        assert_eq!(names, ["d/e/part", "d/link", "dangling", "latest", "part-00000"]);
        assert_eq!(contents.link_to, None);
        FileStore.delete_below(&out, &contents.keys).unwrap();
        assert_eq!(FileStore.contents(&out).unwrap().keys, [""; 0]);
        assert!(std::path::Path::new(&format!("{out}empty")).exists(), "a folder that was empty stays");
        assert!(!std::path::Path::new(&format!("{out}d")).exists(), "one that became empty goes");
        // Nor does the removal of a whole folder follow the folder's own name.
        std::os::unix::fs::symlink(format!("{prefix}prod"), format!("{prefix}work")).unwrap();
        assert_eq!(
            FileStore.contents(&format!("{prefix}work/")).unwrap(),
            super::Contents {
                keys: vec![format!("{prefix}work/deep/f")],
                link_to: Some(format!("{prefix}prod"))
            }
        );
        FileStore.delete_prefix(&format!("{prefix}work/")).unwrap();
        assert!(!std::path::Path::new(&format!("{prefix}work")).exists());
        assert_eq!(FileStore.get(&format!("{prefix}prod/deep/f")).unwrap().unwrap(), b"x");
    }

    #[test]
    fn links_to_files_are_followed_and_circles_are_not() {
        let (_dir, prefix) = folder();
        std::fs::create_dir(format!("{prefix}d")).unwrap();
        std::fs::write(format!("{prefix}d/f"), "x").unwrap();
        std::os::unix::fs::symlink(format!("{prefix}d/f"), format!("{prefix}link")).unwrap();
        std::os::unix::fs::symlink(&prefix, format!("{prefix}d/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", format!("{prefix}broken")).unwrap();
        let names: Vec<_> = FileStore.list(&prefix, true).unwrap().into_iter().map(|e| e.key).collect();
        assert_eq!(names, [format!("{prefix}d/f"), format!("{prefix}link")]);
    }
}
