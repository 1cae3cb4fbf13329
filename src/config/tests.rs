use super::{Config, Mistakes, Values, parse};

const KEY: &str = "VzAQ0qJq7m5c2b8HhM4yQeT1xR6kWn3pLfUaSdGvBtY";

fn read(settings: &[(&str, &str)]) -> Result<Config, Mistakes> {
    let mut values: Values = [("SECRET_KEY".to_owned(), KEY.to_owned())].into();
    values.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Config::from_values(&values)
}

fn refused(settings: &[(&str, &str)]) -> Vec<String> {
    read(settings).unwrap_err().0.into_iter().map(|mistake| mistake.name).collect()
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = read(&[]).unwrap();
    let described: Vec<String> = config.describe().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cores = std::thread::available_parallelism().unwrap();
    let expected = format!(
        "SECRET_KEY=******** SECRET_KEY_PREVIOUS= ALGORITHM=HS256 KEY_ROTATION_DAYS=90 ACCESS_TOKEN_EXPIRE_MINUTES=30 \
         REFRESH_TOKEN_EXPIRE_DAYS=14 SESSION_EXPIRE_DAYS=30 REFRESH_REUSE_SECONDS=10 DATABASE_URL=sqlite://hallpass.db \
         HOST=127.0.0.1 PORT=8000 PUBLIC_URL=http://127.0.0.1:8000 AUDIENCE=http://127.0.0.1:8000 CORS_ORIGINS= \
         TRUSTED_PROXIES= PASSWORD_MIN_LENGTH=15 ARGON2_MEMORY_KIB=19456 ARGON2_ITERATIONS=2 ARGON2_PARALLELISM=1 \
         HASH_THREADS={cores} HASH_QUEUE=32 RATE_LIMITS=on SMTP_URL= MAIL_FROM= MAIL_TEMPLATES= \
         AUDIT_DAYS=90 DOCS=on METRICS_ADDR= LOG=info"
    );
    let (format, described) = described.split_last().unwrap();
    assert_eq!(described.join(" "), expected);
    assert!(format == "LOG_FORMAT=json" || format == "LOG_FORMAT=text");
    assert!(!format!("{config:?}").contains(KEY));
}

#[test]
fn a_value_that_cannot_be_used_is_refused_by_name() {
    for (name, value) in [
        ("SECRET_KEY", "too short"),
        ("SECRET_KEY", " VzAQ0qJq7m5c2b8HhM4yQeT1xR6kWn3pLfUaSdGvBtY"),
        ("SECRET_KEY_PREVIOUS", "too short"),
        ("SECRET_KEY_PREVIOUS", KEY),
        ("ALGORITHM", "none"),
        ("ALGORITHM", "RS256"),
        ("KEY_ROTATION_DAYS", "-1"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "0"),
        ("SESSION_EXPIRE_DAYS", "0"),
        ("REFRESH_REUSE_SECONDS", "61"),
        ("ALGORITHM", "hs256"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "1441"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "30m"),
        ("DATABASE_URL", "postgres://localhost/x"),
        ("DATABASE_URL", "sqlite::memory:"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite://x.db?mode=ro"),
        ("HOST", "example.com"),
        ("PORT", "65536"),
        ("PORT", "0"),
        ("PUBLIC_URL", "login.example.com"),
        ("PUBLIC_URL", "ftp://example.com"),
        ("PUBLIC_URL", "https://a:b@example.com"),
        ("PUBLIC_URL", "https://example.com/?x"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "https://a.example/path"),
        ("CORS_ORIGINS", "https://a.example, b.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "proxy.internal"),
        ("PASSWORD_MIN_LENGTH", "7"),
        ("PASSWORD_MIN_LENGTH", "65"),
        ("ARGON2_MEMORY_KIB", "1024"),
        ("ARGON2_ITERATIONS", "0"),
        ("ARGON2_PARALLELISM", "65"),
        ("HASH_THREADS", "0"),
        ("HASH_QUEUE", "0"),
        ("RATE_LIMITS", "no"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_TEMPLATES", "/there/is/no/such/folder"),
        ("AUDIT_DAYS", "0"),
        ("DOCS", "yes"),
        ("METRICS_ADDR", "9100"),
        ("LOG", "loud"),
        ("LOG_FORMAT", "xml"),
    ] {
        assert_eq!(refused(&[(name, value)]), [name], "{name}={value}");
        assert!(!read(&[(name, value)]).unwrap_err().to_string().contains("too short"));
    }
}

#[test]
fn every_mistake_is_listed_at_once() {
    assert_eq!(refused(&[("SECRET_KEY", ""), ("PORT", "x"), ("DOCS", "x")]), ["SECRET_KEY", "PORT", "DOCS"]);
}

#[test]
fn hashing_is_never_cheaper_than_the_floor() {
    let weak = ["19455/2", "47103/1", "12287/3", "7168/4"];
    let strong = ["19456/2", "47104/1", "12288/3", "9216/4", "7168/5", "65536/3"];
    for (pair, accepted) in weak.map(|pair| (pair, false)).into_iter().chain(strong.map(|pair| (pair, true))) {
        let (memory, passes) = pair.split_once('/').unwrap();
        let result = read(&[("ARGON2_MEMORY_KIB", memory), ("ARGON2_ITERATIONS", passes)]);
        assert_eq!(result.is_ok(), accepted, "{pair}");
    }
}

#[test]
fn a_host_that_others_reach_needs_a_public_url() {
    assert_eq!(refused(&[("HOST", "0.0.0.0")]), ["PUBLIC_URL"]);
    let config = read(&[("HOST", "0.0.0.0"), ("PUBLIC_URL", "https://login.example.com/")]).unwrap();
    assert_eq!(
        (config.public_url.as_str(), config.audience.as_str()),
        ("https://login.example.com", "https://login.example.com")
    );
    assert!(config.is_https());
    assert_eq!(read(&[("HOST", "::1")]).unwrap().public_url, "http://[::1]:8000");
}

#[test]
fn lists_are_read_item_by_item() {
    let config = read(&[
        ("CORS_ORIGINS", "https://app.example.com, http://localhost:5173/"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,::1,::ffff:192.0.2.0/120,::/0"),
    ])
    .unwrap();
    assert_eq!(config.cors_origins, ["https://app.example.com", "http://localhost:5173"]);
    let proxies: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128", "192.0.2.0/24", "::/0"]);
}

#[test]
fn what_is_off_by_default_can_be_said_to_be() {
    assert!(read(&[("METRICS_ADDR", "off")]).unwrap().metrics.is_none());
}

#[test]
fn a_misspelt_name_in_the_file_is_found() {
    let meant = ["SECRET_KEYS", "secret_key", "ACCESS_TOKEN_EXPIRES_MINUTES", "TRUSTED_PROXY", "CORS_ORIGIN", "port"];
    let others = ["POSTGRES_DB", "DATABASE_PORT", "DATABASE_USER", "PORTS", "HOME", "SMTP_URL"];
    let names = [&meant[..], &others].concat();
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let found: Vec<String> = parse::misspelt(names.iter()).into_iter().map(|m| m.name).collect();
    assert_eq!(found, meant);
}

#[test]
fn a_line_that_cannot_be_read_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    std::fs::write(&file, format!("SECRET_KEY={KEY} and more\n")).unwrap();
    let mistake = parse::dotenv(&file).unwrap_err();
    assert!(!mistake.detail.contains(KEY));
    std::fs::write(&file, format!("SECRET_KEY=\"{KEY}$HOME\"\n")).unwrap();
    assert!(parse::dotenv(&file).unwrap_err().detail.contains("single quotes"));
    std::fs::write(&file, format!("export SECRET_KEY=\"it's-{KEY}$HOME\"\n")).unwrap();
    assert!(parse::dotenv(&file).unwrap_err().detail.contains("SECRET_KEY with a $"));
    std::fs::write(&file, format!("SECRET_KEY='{KEY}$HOME'\n")).unwrap();
    assert_eq!(parse::dotenv(&file).unwrap().get("SECRET_KEY").unwrap(), &format!("{KEY}$HOME"));
    std::fs::write(&file, "# comment\nPORT='8123'\n").unwrap();
    assert_eq!(parse::dotenv(&file).unwrap().get("PORT").unwrap(), "8123");
    assert!(parse::dotenv(&folder.path().join("none")).unwrap().is_empty());
}

#[test]
fn mail_is_encrypted_or_stays_on_this_machine() {
    let from = ("MAIL_FROM", "Hallpass <login@example.com>");
    for (url, is_taken) in [
        ("smtps://user:secret-of-mail@mail.example.com", true),
        ("smtps://mail.example.com:2465", true),
        ("smtp://user:secret-of-mail@mail.example.com:587?tls=required", true),
        ("smtp://127.0.0.1:1025", true),
        ("smtp://[::1]:1025", true),
        ("smtp://localhost:1025", true),
        ("smtp://mail.example.com", false),
        ("smtp://user:secret-of-mail@mail.example.com:587?tls=opportunistic", false),
        ("smtp://localhost.example.com", false),
        ("smtp://127.0.0.1.example.com", false),
        ("https://mail.example.com", false),
        ("smtps://", false),
        ("mail.example.com", false),
    ] {
        match read(&[("SMTP_URL", url), from]) {
            Ok(config) => {
                assert!(is_taken, "{url}");
                assert!(!format!("{config:?} {:?}", config.describe()).contains("secret-of-mail"));
            }
            Err(mistakes) => {
                assert!(!is_taken, "{url}");
                assert!(!mistakes.to_string().contains("secret-of-mail"));
            }
        }
    }
    assert_eq!(refused(&[("SMTP_URL", "smtp://127.0.0.1:1025")]), ["MAIL_FROM"]);
    assert_eq!(read(&[from]).unwrap().mail_from.unwrap().email.to_string(), "login@example.com");
}
