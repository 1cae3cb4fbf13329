//! The demo: the real server, with a folder and a secret of its own, and three users whose password everybody
//! knows. So it listens on loopback, and reads no settings but those of the log.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Failure, print::out, serve};
use crate::{
    app::App,
    auth::{
        account::{self, Addition},
        admin, random,
    },
    clock::Clock,
    config::{self, Config, Log, Mistakes, Values},
    error::Error,
    mail::Mailer,
    model::By,
    store::Changes,
};

const PASSWORD: &str = "demo-password-only";
const SECRET: &str = "secret";
/// Stands there once all users were made: those that were changed or deleted since stay so.
const SEEDED: &str = "seeded";
const DATABASE: &str = "hallpass.db";

/// The demo, before it has touched anything.
pub(super) struct Demo {
    dir: PathBuf,
    reset: bool,
    values: Values,
}

impl Demo {
    pub(super) fn new(dir: PathBuf, port: u16, reset: bool) -> Result<Self, Failure> {
        let mut values = config::environment(&["LOG", "LOG_FORMAT"])?;
        values.insert("PORT".to_owned(), port.to_string());
        Ok(Self { dir, reset, values })
    }

    pub(super) fn log(&self) -> Result<Log, Failure> {
        Ok(self.config(random::secret()?)?.log)
    }

    fn config(&self, secret: String) -> Result<Config, Mistakes> {
        let mut values = self.values.clone();
        values.insert("SECRET_KEY".to_owned(), secret);
        let mut config = Config::from_values(&values)?;
        // As it is: a folder's name may have what a URL cannot.
        config.database = self.dir.join(DATABASE);
        Ok(config)
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        serve::allow_files();
        // Before the folder: another demo may be running in it.
        let listener = serve::bind(&self.config(random::secret()?)?)?;
        let secret = self.prepare().map_err(|error| format!("cannot use {}: {error}", self.dir.display()))?;
        let mut app = App::build(self.config(secret)?, Clock::System).await?;
        app.mailer = Mailer::Mailbox(Arc::default());
        if !self.dir.join(SEEDED).exists() {
            seed(&app).await?;
            File::create(self.dir.join(SEEDED))?;
        }
        out(&welcome(&app.config.public_url, &self.dir))?;
        Box::pin(serve::serve(app, listener, None)).await
    }

    /// Makes the folder, and answers its secret.
    fn prepare(&self) -> io::Result<String> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        if self.reset {
            for name in [SEEDED, SECRET, DATABASE, "hallpass.db-wal", "hallpass.db-shm"] {
                match fs::remove_file(self.dir.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        let path = self.dir.join(SECRET);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        let (secret, new) = (random::secret().map_err(io::Error::other)?, path.with_extension("new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(secret.as_bytes())?;
        // Whole, or not there.
        fs::rename(new, path)?;
        Ok(secret)
    }
}

/// Makes the users that are not there: an earlier start may have been broken off.
async fn seed(app: &App) -> Result<(), Failure> {
    let (now, by) = (app.clock.now(), By::operator());
    for (name, roles) in [("mallory", &[][..]), ("alice", &["admin"]), ("johndoe", &[])] {
        let form = Addition {
            username: name.to_owned(),
            password: Some(PASSWORD.to_owned()),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Addition::default()
        };
        let user = match account::add(app, now, &by, form).await {
            Err(Error::UsernameTaken) => account::find(app, name).await?,
            added => added?,
        };
        if name == "mallory" {
            admin::change(app, now, &by, &user.id, Changes::disabled(true)).await?;
        }
    }
    Ok(())
}

fn welcome(url: &str, dir: &Path) -> String {
    format!(
        r#"Hallpass demo. Its files are in {}; Ctrl-C ends it.

  Swagger UI   {url}/docs
  Mailbox      {url}/dev/mailbox   (no mail leaves this machine; the links in it work)

  Users, all with the password {PASSWORD}
    johndoe    role user
    alice      roles user, admin
    mallory    disabled

  Try it
    TOKEN=$(curl -s {url}/login -H 'Content-Type: application/json' -d '{{"username": "johndoe", "password": "{PASSWORD}"}}' | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
    curl -s {url}/protected -H "Authorization: Bearer $TOKEN"
"#,
        dir.display()
    )
}
