//! The command line, beside a running server.

use std::{io::Write, path::Path, process::Stdio};

use serde_json::Value;

use super::program::{PASSWORD, SECRET_KEY, Server, arguments, command, eventually, finish, run, text};

#[test]
fn a_secret_is_fresh_and_fit_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let secret = || text(&command(folder.path(), &["secret"]).output().unwrap().stdout).trim_end().to_owned();
    let (one, two) = (secret(), secret());
    assert_ne!(one, two);
    assert!(one.len() >= 43 && one.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{one}");
    let output = command(folder.path(), &["config", "--json"]).env("SECRET_KEY", &one).output().unwrap();
    let settings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(settings["SECRET_KEY"], "********");
}

#[test]
fn the_document_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["openapi"]).output().unwrap();
    assert_eq!(text(&output.stdout).trim_end(), hallpass::api::spec().trim_end());
}

/// And is in no answer: the document has the version of the interface.
#[test]
fn the_version_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(folder.path(), &["--version"]).output().unwrap();
    assert_eq!(text(&output.stdout), concat!("hallpass ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(!hallpass::api::spec().contains(concat!('"', env!("CARGO_PKG_VERSION"), '"')));
}

#[test]
fn words_that_are_off_end_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in
        [&["fly"][..], &["user"], &["user", "add"], &["serve", "--fast"], &["user", "add", "x", "--password", "y"]]
    {
        assert_eq!(command(folder.path(), arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn accounts_are_looked_after_while_the_server_runs() {
    let server = Server::start(&[]);
    let hallpass = |arguments: &[&str], input: &str| run(server.folder.path(), arguments, &[("LOG", "error")], input);
    let ok = |arguments: &[&str], input: &str| {
        let output = hallpass(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let fails = |arguments: &[&str], input: &str, why: &str| {
        let output = hallpass(arguments, input);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(why), "{arguments:?}: {}", text(&output.stderr));
    };

    let elsewhere = run(server.folder.path(), &["user", "list"], &[("DATABASE_URL", "sqlite://mistyped.db")], "");
    assert!(text(&elsewhere.stderr).contains("there is no database mistyped.db"));
    assert!(!server.folder.path().join("mistyped.db").exists());
    let added = ok(
        &["user", "add", "Admin", "--role", "admin", "--email", "a@example.org", "--json"],
        &format!("{PASSWORD}\n"),
    );
    let added: Value = serde_json::from_str(&added).unwrap();
    assert_eq!((&added["username"], &added["roles"]), (&"Admin".into(), &serde_json::json!(["user", "admin"])));
    fails(&["user", "add", "ADMIN"], PASSWORD, "there is a user of this name");
    fails(&["user", "add", "jane"], "short", "password must have at least 15 characters");
    fails(&["user", "add", "jane"], "", "password must not be empty");
    fails(&["user", "add", "ja ne"], PASSWORD, "username has a character that a user name cannot have");
    fails(&["user", "add", "jane", "--role", "Boss"], PASSWORD, "`Boss` is not a role");

    let (status, tokens) = server.login("admin", PASSWORD).await;
    assert_eq!(status, 200);
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(server.get("/me", token).await.1["id"], added["id"]);

    let shown: Value = serde_json::from_str(&ok(&["user", "show", "admin", "--json"], "")).unwrap();
    assert!(shown["last_login_at"].is_string() && shown["disabled_at"].is_null());
    assert!(ok(&["user", "show", "admin"], "").contains("a@example.org"));
    let listed: Value = serde_json::from_str(&ok(&["user", "list", "--json"], "")).unwrap();
    assert_eq!(listed, serde_json::json!([shown]));
    assert!(ok(&["user", "list"], "").contains("Admin"));

    ok(&["user", "disable", "admin", "--force"], "");
    assert_eq!(server.get("/me", token).await.1["code"], "session_ended");
    assert_eq!(server.login("admin", PASSWORD).await.0, 401);
    ok(&["user", "enable", "admin"], "");
    assert_eq!(server.login("admin", PASSWORD).await.0, 200);

    ok(&["user", "set-password", "admin"], "eight red lanterns\n");
    assert_eq!(server.login("admin", PASSWORD).await.0, 401);
    assert_eq!(server.login("admin", "eight red lanterns").await.0, 200);
    fails(&["user", "set-password", "admin"], "passwordpassword", "is among the most common");

    ok(&["user", "delete", "admin", "--force"], "");
    assert_eq!(server.get("/me", token).await.1["code"], "user_not_found");
    assert_eq!(ok(&["user", "list"], ""), "");
    for verb in ["show", "disable", "enable", "delete", "set-password"] {
        fails(&["user", verb, "admin"], PASSWORD, "there is no user \"admin\"");
    }
}

#[test]
#[ignore = "needs script, which gives a terminal; make interop runs it"]
fn on_a_terminal_it_asks_and_logs_text() {
    let folder = tempfile::tempdir().unwrap();
    let on_terminal = |words: &str, typed: &str| {
        let line = format!("{} {words}", env!("CARGO_BIN_EXE_hallpass"));
        let mut script = std::process::Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(folder.path());
        let output = finish(script.env("SECRET_KEY", SECRET_KEY).env("LOG", "info"), typed);
        (output.status.code().unwrap(), text(&output.stdout))
    };
    let (code, said) = on_terminal("user add jane", &format!("{PASSWORD}\n{PASSWORD}\n"));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Once more: ") && said.contains("INFO") && !said.contains('{'), "{said}");
    // What is typed before it asks is echoed by the terminal; what it says from then on does not hold it.
    assert!(!said.split_once("Password: ").unwrap().1.contains(PASSWORD), "{said}");
    let (code, said) = on_terminal("user add joan", &format!("{PASSWORD}\nanother one\n"));
    assert!(code == 1 && said.contains("the two differ"), "{said}");
    let (code, said) = on_terminal("user delete jane", "n\n");
    assert!(code == 1 && said.contains("Delete jane for good?") && said.contains("nothing was deleted"), "{said}");
    assert_eq!(on_terminal("user show jane", "").0, 0);
    assert_eq!(on_terminal("user delete jane", "y\n").0, 0);
    assert_eq!(on_terminal("user show jane", "").0, 1);
}

#[test]
fn no_secret_is_printed_or_logged() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["user", "add", "jane"], &[("LOG", "trace")], PASSWORD);
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{all}");
    for secret in [PASSWORD, SECRET_KEY, "$argon2id"] {
        assert!(!all.contains(secret), "{all}");
    }
}

/// What a command's help says of its options, and of those of the commands below it.
fn options(folder: &Path, words: &[&str]) -> Vec<String> {
    let help = text(&command(folder, &[words, &["--help"]].concat()).output().unwrap().stdout);
    let below = help.split_once("Commands:\n").map_or("", |(_, rest)| rest.split_once("\n\n").unwrap().0);
    // The description of a command may take several lines.
    let names = below.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap()).filter(|name| *name != "help");
    let own = help.split([' ', '\n', ',', '[', '<']).filter(|word| word.starts_with("--"));
    let own = own.map(|option| format!("{} {option}", words.join(" ")));
    own.chain(names.flat_map(|name| options(folder, &[words, &[name]].concat()))).collect()
}

#[test]
fn no_option_takes_a_secret_since_everybody_reads_the_arguments_of_a_process() {
    let folder = tempfile::tempdir().unwrap();
    let all = options(folder.path(), &[]);
    for known in ["user add --email", "keys rotate --in", "demo --port", " --version"] {
        assert!(all.iter().any(|option| option == known), "{known}: {all:?}");
    }
    for option in &all {
        let name = option.rsplit_once("--").unwrap().1;
        let words = ["pass", "secret", "token", "key", "smtp", "code"];
        assert!(!words.iter().any(|word| name.contains(word)), "{option}");
    }
    for words in [
        &["user", "add", "jane", "--password", PASSWORD][..],
        &["user", "add", "jane", PASSWORD],
        &["user", "set-password", "jane", "--password", PASSWORD],
        &["user", "set-password", "jane", PASSWORD],
        &["serve", "--secret-key", SECRET_KEY],
        &["config", "--smtp-url", "smtp://me:pass@host"],
    ] {
        assert_eq!(run(folder.path(), words, &[], "").status.code(), Some(2), "{words:?}");
    }
}

#[tokio::test]
async fn what_a_running_process_shows_of_its_arguments_are_the_words_that_it_was_given() {
    let server = Server::start(&[("SMTP_URL", "smtp://me:hidden-canary@127.0.0.1:9"), ("MAIL_FROM", "a@example.org")]);
    server.register("john").await;
    assert_eq!(server.arguments()[1..], ["serve"]);
    // A command that waits for its password.
    let mut add = command(server.folder.path(), &["user", "set-password", "john"]);
    let mut add = add.env("SECRET_KEY", SECRET_KEY).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = add.stdin.take().unwrap();
    input.write_all(b"eight red ").unwrap();
    eventually("it runs", async || arguments(add.id()).len() == 4).await;
    assert_eq!(arguments(add.id())[1..], ["user", "set-password", "john"]);
    input.write_all(b"lanterns\n").unwrap();
    drop(input);
    assert!(add.wait().unwrap().success());
    assert_eq!(server.login("john", "eight red lanterns").await.0, 200);
}
