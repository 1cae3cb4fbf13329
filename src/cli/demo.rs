//! The demo: the real server, with a folder and a secret of its own, and three users whose password everybody
//! knows. So it listens on loopback, and reads no settings but those of the log.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use super::{Failure, print::out, serve};
use crate::{
    app::App,
    auth::{
        account::{self, Registration},
        random,
    },
    clock::Clock,
    config::{self, Config, Values},
    model::Roles,
};

const PASSWORD: &str = "demo-password-only";
const SECRET: &str = "secret";
const DATABASE: &str = "hallpass.db";

/// Makes the folder, and the settings.
pub(super) fn prepare(dir: &Path, port: u16, reset: bool) -> Result<Config, Failure> {
    let about = |error: &io::Error| format!("cannot use {}: {error}", dir.display());
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| about(&error))?;
    if reset {
        for name in [SECRET, DATABASE, "hallpass.db-wal", "hallpass.db-shm"] {
            match fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(about(&error).into()),
                _ => {}
            }
        }
    }
    let secret = secret(dir).map_err(|error| about(&error))?;
    let mut values: Values = config::environment();
    values.retain(|name, _| name == "LOG" || name == "LOG_FORMAT");
    for (name, value) in [("SECRET_KEY", secret), ("PORT", port.to_string())] {
        values.insert(name.to_owned(), value);
    }
    let mut config = Config::from_values(&values)?;
    // As it is: a folder's name may have what a URL cannot.
    config.database = dir.join(DATABASE);
    Ok(config)
}

/// The secret of this folder, made the first time.
fn secret(dir: &Path) -> io::Result<String> {
    let path = dir.join(SECRET);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let secret = random::secret().map_err(io::Error::other)?;
            file.write_all(secret.as_bytes())?;
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path),
        Err(error) => Err(error),
    }
}

pub(super) async fn run(config: Config, dir: &Path) -> Result<(), Failure> {
    let listener = serve::bind(&config).await?;
    let app = App::build(config, Clock::System).await?;
    seed(&app).await?;
    out(&welcome(&app.config.public_url, dir))?;
    serve::serve(app, listener).await
}

/// Once: users that were changed or deleted since stay so.
async fn seed(app: &App) -> Result<(), Failure> {
    if !app.store.users().await?.is_empty() {
        return Ok(());
    }
    let now = app.clock.now();
    for (name, roles) in [("mallory", &[][..]), ("alice", &["admin"]), ("johndoe", &[])] {
        let form = Registration { username: name.to_owned(), password: PASSWORD.to_owned(), email: None };
        let user = account::add(app, now, form, Roles::with(roles.iter().copied())?).await?;
        if name == "mallory" {
            account::disable(app, now, &user).await?;
        }
    }
    Ok(())
}

fn welcome(url: &str, dir: &Path) -> String {
    format!(
        r#"Hallpass demo. Its files are in {}; Ctrl-C ends it.

  Swagger UI   {url}/docs

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
