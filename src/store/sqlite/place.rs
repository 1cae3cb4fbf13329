//! Where the files are, and whether they still are those that were opened.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use crate::store::Conn;

/// The file, for who writes to it.
#[derive(Debug)]
pub(in crate::store) struct File {
    pub(super) place: Place,
    pub(super) options: SqliteConnectOptions,
}

impl File {
    /// Opens it. Not another file that has its name now: to close that would write this one's log into it.
    pub(in crate::store) async fn connect(&self) -> Result<Conn, sqlx::Error> {
        self.place.check_database()?;
        self.options.connect().await
    }

    /// Refuses a database that was deleted, moved or replaced, and its index of the log. For who has it open.
    pub(in crate::store) fn check_place(&self) -> Result<(), sqlx::Error> {
        self.place.check_database()?;
        same(&self.place.index, &suffixed(&self.place.path, "-shm"))
    }

    /// The same, and for its log. Called once something has been read.
    pub(in crate::store) fn check(&self) -> Result<(), sqlx::Error> {
        same(&self.place.log, &log_of(&self.place.path))?;
        self.check_place()
    }
}

/// Makes the file if there is none, readable by its owner alone; SQLite gives `-wal` and `-shm` the same mode.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        // To open a named pipe would wait for ever.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !fs::metadata(path)?.is_file() => {
            Err(io::Error::other("it is not a file"))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::File::open(path).map(drop),
        Err(error) => Err(error),
    }
}

/// Which files these are, by device and inode.
///
/// With a write-ahead log SQLite goes on in files that were deleted, moved or replaced, and what was acknowledged would
/// be gone.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    database: (u64, u64),
    /// The write-ahead log, as of the first look. Who deletes it deletes what was acknowledged since.
    log: OnceLock<(u64, u64)>,
    /// What processes share of it (`-shm`), as of the first look. Who deletes it parts them: each has locks of its own
    /// then, and writes over what the others acknowledged.
    index: OnceLock<(u64, u64)>,
}

impl Place {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), database: identity(path)?, log: OnceLock::new(), index: OnceLock::new() })
    }

    fn check_database(&self) -> Result<(), sqlx::Error> {
        if identity(&self.path)? == self.database { Ok(()) } else { Err(replaced()) }
    }
}

/// Whether this is the file that was there at the first look.
fn same(first: &OnceLock<(u64, u64)>, path: &Path) -> Result<(), sqlx::Error> {
    let now = identity(path)?;
    if *first.get_or_init(|| now) == now { Ok(()) } else { Err(replaced()) }
}

fn replaced() -> sqlx::Error {
    io::Error::other("the database's files were replaced").into()
}

/// The write-ahead log.
pub(in crate::store) fn log_of(path: &Path) -> PathBuf {
    suffixed(path, "-wal")
}

/// The name with something behind it.
pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
