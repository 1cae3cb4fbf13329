//! A file that has its name when it is whole: until then it has another one, beside its place. What a process leaves
//! that was killed is cleared away by the next one.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Whether it may take the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It must be free.
    Free,
    /// What is there is replaced.
    Any,
}

/// A file that will have its name when it is whole. Dropped before, it is gone.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    /// Locked, so that who clears away what others left lets it be.
    file: File,
    is_published: bool,
}

impl Draft {
    /// Beside its place, since it can be moved there at once: readable by its owner alone, and empty, which SQLite
    /// takes, too.
    ///
    /// # Errors
    /// What the system says.
    pub fn beside(to: &Path) -> io::Result<Self> {
        let to = std::path::absolute(to)?;
        sweep(&to);
        let (mut n, pid) = (0, std::process::id());
        loop {
            let mut path = to.clone().into_os_string();
            path.push(format!("{DRAFT}{pid}-{n}"));
            let path = PathBuf::from(path);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    let is_ours = file.try_lock().is_ok()
                        && fs::metadata(&path)
                            .and_then(|there| Ok((there, file.metadata()?)))
                            .is_ok_and(|(there, here)| (here.dev(), here.ino()) == (there.dev(), there.ino()));
                    if is_ours {
                        return Ok(Self { path, file, is_published: false });
                    }
                    // Somebody clears it away.
                    n += 1;
                    if n > 100 {
                        return Err(io::Error::other("the file was replaced"));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < 100 => n += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The name that it has until it is whole.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file, to be written.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// It is whole: syncs it and gives it its name.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if its place had to be free and is not; what the system says.
    pub fn publish(mut self, to: &Path, place: Place) -> io::Result<()> {
        self.file.sync_all()?;
        let taken = || Err(io::ErrorKind::AlreadyExists.into());
        match place {
            Place::Any => fs::rename(&self.path, to)?,
            // Unlike a rename, a link does not replace what somebody has put there meanwhile.
            Place::Free => match fs::hard_link(&self.path, to) {
                Ok(()) => fs::remove_file(&self.path)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return taken(),
                // A file system without links.
                Err(_) if fs::symlink_metadata(to).is_ok() => return taken(),
                Err(_) => fs::rename(&self.path, to)?,
            },
        }
        self.is_published = true;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_published {
            remove(&self.path);
        }
    }
}

/// What is in the name of a file that is not whole yet.
const DRAFT: &str = ".draft-";

/// SQLite's journal of a draft.
const JOURNAL: &str = "-journal";

/// Removes a draft, after its journal: by what is left when that is broken off, the rest is found.
fn remove(draft: &Path) {
    let mut journal = draft.to_owned().into_os_string();
    journal.push(JOURNAL);
    for path in [Path::new(&journal), draft] {
        let _ = fs::remove_file(path);
    }
}

/// Whether it is a name that [`Draft::beside`] gives a draft of this file: what an operator has named alike is his.
fn is_draft(found: &str, name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers =
        found.strip_prefix(name).and_then(|rest| rest.strip_prefix(DRAFT)).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(pid, n)| is_number(pid) && is_number(n))
}

/// Clears away drafts of this file that a process left when it was killed: those that nobody holds.
fn sweep(to: &Path) {
    let (Some(folder), Some(name)) = (to.parent(), to.file_name().and_then(|name| name.to_str())) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_draft = entry.file_name().to_str().is_some_and(|found| is_draft(found, name));
        // A pipe would wait for its other end to be opened, and a link lead elsewhere: DirEntry does not follow it.
        let is_file = || entry.metadata().is_ok_and(|entry| entry.is_file());
        // Held until it is gone: whoever has just made it must not take it for his own.
        if is_draft
            && is_file()
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            remove(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::Draft;

    #[test]
    fn only_drafts_that_nobody_holds_are_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let held = Draft::beside(&at("backup.db")).unwrap();
        for name in ["backup.db.draft-1-0", "backup.db.draft-4194304-99", "backup.db.draft-4194304-99-journal"] {
            fs::write(at(name), "left").unwrap();
        }
        let others = [
            "backup.db",
            "backup.db.draft-old",
            "backup.db.draft-1",
            "backup.db.draft-1-",
            "backup.db.draft--1",
            "backup.db.draft-1-0.bak",
            "backup.db.draft-1-2-3",
            "backup.db.draft-1-+2",
            "other.db.draft-1-0",
            "my-backup.db.draft-1-0",
        ];
        for name in others {
            fs::write(at(name), "kept").unwrap();
        }
        mknodat(CWD, at("backup.db.draft-1-1"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::os::unix::fs::symlink(at("backup.db"), at("backup.db.draft-1-2")).unwrap();
        let draft = Draft::beside(&at("backup.db")).unwrap();
        let mut kept: Vec<_> = others.map(at).into();
        kept.extend(["backup.db.draft-1-1", "backup.db.draft-1-2"].map(at));
        kept.extend([held.path().to_owned(), draft.path().to_owned()]);
        kept.sort();
        let mut found: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        found.sort();
        assert_eq!(found, kept);
    }
}
