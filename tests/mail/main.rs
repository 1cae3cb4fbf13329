//! Mail, through a real server that misbehaves.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may")]

#[path = "../process/program.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod program;

#[path = "../process/database.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod database;
mod server;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use program::{PASSWORD, Server};
use serde_json::{Value, json};
use server::MailServer;

/// More than any request takes here that waits for nothing but a hash.
const SOON: Duration = Duration::from_secs(5);

/// Tries end after two minutes, and begin anew after half of one.
const LONG: Duration = Duration::from_mins(6);

fn settings(url: &str) -> Vec<(String, String)> {
    [
        ("SMTP_URL", url),
        ("MAIL_FROM", "Hallpass <login@example.com>"),
        ("RATE_LIMITS", "off"),
        // Passwords are not what this is about.
        ("ARGON2_MEMORY_KIB", "7168"),
        ("ARGON2_ITERATIONS", "5"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn start(url: &str, more: &[(&str, &str)]) -> Server {
    let settings = settings(url);
    let all = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(more.iter().copied());
    Server::start(&all.collect::<Vec<_>>())
}

fn plain(mail: &MailServer) -> String {
    format!("smtp://127.0.0.1:{}", mail.port)
}

fn address(number: usize) -> String {
    format!("user{number}@example.org")
}

/// Registers one more, who is to be mailed to.
async fn register(server: &Server, number: usize) {
    let form = json!({"username": format!("user{number}"), "password": PASSWORD, "email": address(number)});
    soon(server, "/register", &form, 201).await;
}

/// A request that neither fails nor waits, whatever becomes of the mail.
async fn soon(server: &Server, path: &str, form: &Value, wanted: u16) {
    let begun = Instant::now();
    let answer = reqwest::Client::new().post(server.url(path)).json(form).send().await.unwrap();
    assert_eq!(answer.status(), wanted, "{path}");
    assert!(begun.elapsed() < SOON, "{path} took {:?}", begun.elapsed());
}

/// Waits, for as long as tries may take.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LONG, "not so: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether there is nothing more to be sent.
async fn is_done(server: &Server) -> bool {
    database::column(server.folder.path(), "SELECT CAST(COUNT(*) AS TEXT) FROM outbox").await == ["0"]
}

/// How many lines of the log are of this event.
fn count(server: &Server, event: &str) -> usize {
    server.log().matches(&format!(r#""event":"{event}""#)).count()
}

/// The token of the newest mail's link.
fn token(mail: &MailServer, to: &str) -> String {
    let mail = mail.taken().into_iter().rfind(|mail| mail["to"][0] == to).unwrap();
    let text = mail["text"].as_str().unwrap().to_owned();
    text.split_once("?token=").unwrap().1.lines().next().unwrap().trim().to_owned()
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn a_mail_comes_whole_and_its_link_works() {
    let mail = MailServer::start(None);
    let server = start(&plain(&mail), &[]);
    register(&server, 1).await;
    until("the mail is there", async || !mail.taken().is_empty()).await;
    let letter = mail.taken().remove(0);
    assert_eq!((&letter["sender"], &letter["to"]), (&json!("login@example.com"), &json!([address(1)])));
    let token = token(&mail, &address(1));
    for part in ["text", "html"] {
        let part = letter[part].as_str().unwrap();
        assert!(part.contains("user1") && part.contains(&server.url(&format!("/verify?token={token}"))), "{part}");
    }
    soon(&server, "/email/verify", &json!({"token": token}), 204).await;
    soon(&server, "/password/forgot", &json!({"email": address(1)}), 202).await;
    until("the other mail is there", async || mail.taken().len() == 2).await;
    let form = json!({"token": self::token(&mail, &address(1)), "new_password": "eleven blue teapots"});
    soon(&server, "/password/reset", &form, 204).await;
    assert_eq!(server.login(&address(1), "eleven blue teapots").await.0, 200);
}

/// What may go wrong, and whether the mail is given up for it.
const MISHAPS: &[(&str, bool)] = &[
    ("GREETING slow", false),
    ("GREETING drop", false),
    ("GREETING hang", false),
    ("GREETING 421", false),
    ("GREETING 554", false),
    ("EHLO slow", false),
    ("EHLO drop", false),
    ("EHLO 421", false),
    ("EHLO 550", false),
    ("MAIL slow", false),
    ("MAIL drop", false),
    ("MAIL 451", false),
    ("MAIL 550", false),
    ("RCPT slow", false),
    ("RCPT drop", false),
    ("RCPT 450", false),
    ("RCPT 550", true),
    ("DATA slow", false),
    ("DATA drop", false),
    ("DATA hang", false),
    ("DATA 451", false),
    ("DATA 554", true),
    ("END slow", false),
    ("END drop", false),
    ("END hang", false),
    ("END 452", false),
    ("END 552", true),
];

#[tokio::test]
#[ignore = "needs aiosmtpd, and takes three minutes; make interop runs it"]
async fn whatever_the_server_does_no_mail_is_lost_and_no_request_waits() {
    let mail = MailServer::start(None);
    let lines: Vec<&str> = MISHAPS.iter().map(|(line, _)| *line).collect();
    mail.plan(&lines);
    let server = start(&plain(&mail), &[]);
    for number in 0..MISHAPS.len() {
        register(&server, number).await;
    }
    // While it hangs, too.
    for number in 0..5 {
        soon(&server, "/password/forgot", &json!({"email": address(number)}), 202).await;
        soon(&server, "/email/resend", &json!({"email": address(number)}), 202).await;
        assert_eq!(server.login(&format!("user{number}"), PASSWORD).await.0, 200);
    }
    until("all is done", async || is_done(&server).await).await;
    let is_final = |line: &&Value| MISHAPS.contains(&(line["plan"].as_str().unwrap(), true));
    let refused: BTreeSet<String> = mail
        .log()
        .iter()
        .filter(|line| line["stage"] == "RCPT")
        .filter(is_final)
        .map(|line| line["said"].as_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned())
        .collect();
    let there: BTreeSet<String> = mail.counts().into_keys().collect();
    for address in (0..MISHAPS.len()).map(address) {
        assert!(there.contains(&address) || refused.contains(&address), "{address}");
    }
    let finals = MISHAPS.iter().filter(|(_, is_final)| *is_final).count();
    assert_eq!((refused.len(), count(&server, "mail_given_up")), (finals, finals));
    // Only what was taken and not answered comes twice, and then it is the same mail.
    let (mut ids, mut unanswered) = (Vec::new(), BTreeSet::new());
    for mail in mail.taken() {
        let id = mail["id"].as_str().unwrap().to_owned();
        if ["END drop", "END hang"].contains(&mail["plan"].as_str().unwrap()) {
            unanswered.insert(id.clone());
        }
        ids.push(id);
    }
    for id in ids.iter().collect::<BTreeSet<_>>() {
        let copies = ids.iter().filter(|other| *other == id).count();
        assert_eq!(copies, 1 + usize::from(unanswered.contains(id)), "{id}");
    }
    assert_eq!(unanswered.len(), 2);
    eprintln!("{} mishaps, {} mails, {} tried again", MISHAPS.len(), ids.len(), count(&server, "mail_failed"));
    assert!(!server.log().contains("example.org"), "addresses are not logged");
    assert_eq!(mail.complaints(), "");
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn a_server_that_is_not_there_fails_no_request() {
    let port = program::free_port();
    let server = start(&format!("smtp://127.0.0.1:{port}"), &[]);
    register(&server, 1).await;
    soon(&server, "/password/forgot", &json!({"email": address(1)}), 202).await;
    soon(&server, "/password/forgot", &json!({"email": "nobody@example.org"}), 202).await;
    until("it was tried", async || count(&server, "mail_failed") > 0).await;
    assert_eq!(server.get("/readyz", "").await.0, 200);
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn mail_goes_to_nobody_who_does_not_prove_its_name() {
    for (certificate, url, is_trusted) in [
        (Some("unknown"), "smtp://localhost:PORT?tls=required", false),
        (Some("other"), "smtp://localhost:PORT?tls=required", false),
        // It cannot do TLS, or somebody on the way says so.
        (None, "smtp://localhost:PORT?tls=required", false),
        (Some("good"), "smtp://localhost:PORT?tls=required", true),
        (Some("unknown+"), "smtps://localhost:PORT", false),
        (Some("other+"), "smtps://localhost:PORT", false),
        (Some("good+"), "smtps://localhost:PORT", true),
    ] {
        let mail = MailServer::start(certificate);
        let authority = mail.folder.path().join("ca.pem");
        let authority = if authority.exists() { authority.display().to_string() } else { String::new() };
        let url = url.replace("PORT", &mail.port.to_string());
        let server = start(&url, &[("SSL_CERT_FILE", &authority)]);
        register(&server, 1).await;
        let what = format!("{certificate:?} {url}");
        until(&what, async || !mail.taken().is_empty() || count(&server, "mail_failed") > 0).await;
        let taken = mail.taken();
        assert_eq!(taken.len(), usize::from(is_trusted), "{what}: {}", server.log());
        assert!(taken.iter().all(|mail| mail["tls"] == true), "{what}");
        // Nothing of the mail was said to it.
        let said = mail.log().iter().any(|line| ["MAIL", "RCPT", "DATA"].contains(&line["stage"].as_str().unwrap()));
        assert_eq!(said, is_trusted, "{what}");
    }
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn what_was_said_before_tls_does_not_count_under_it() {
    let mail = MailServer::start(Some("good"));
    mail.plan(&["always STARTTLS inject"]);
    let authority = mail.folder.path().join("ca.pem").display().to_string();
    let url = format!("smtp://localhost:{}?tls=required", mail.port);
    let server = start(&url, &[("SSL_CERT_FILE", &authority)]);
    register(&server, 1).await;
    until("it was tried", async || !mail.taken().is_empty() || count(&server, "mail_failed") > 0).await;
    let said: Vec<Value> = mail.log().into_iter().map(|line| line["stage"].clone()).collect();
    assert_eq!(said, ["EHLO", "STARTTLS"], "{}", server.log());
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn a_server_that_never_ends_a_line_is_left() {
    let mail = MailServer::start(None);
    mail.plan(&["always GREETING endless"]);
    let server = start(&plain(&mail), &[]);
    register(&server, 1).await;
    until("it was tried", async || count(&server, "mail_failed") > 0).await;
    assert!(server.log().contains("connect"), "{}", server.log());
}

/// How often it is killed.
fn rounds() -> u64 {
    std::env::var("HALLPASS_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap())
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn a_kill_while_mail_is_sent_loses_none_and_doubles_one_at_most() {
    const MAILS: usize = 12;
    let mail = MailServer::start(None);
    // So that there is a moment between the mail and its answer.
    mail.plan(&["always END slow"]);
    let mut server = start(&plain(&mail), &[]);
    let settings = settings(&plain(&mail));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (mut next, mut twice) = (0, Vec::new());
    for round in 0..rounds() {
        let first = next;
        for _ in 0..MAILS {
            register(&server, next).await;
            next += 1;
        }
        // Each time at another moment of the sending.
        tokio::time::sleep(Duration::from_millis(round * 370 % 1_000)).await;
        server.signal("KILL");
        server.wait();
        server.begin(&settings);
        until("all is done", async || is_done(&server).await).await;
        let counts = mail.counts();
        let copies: Vec<usize> =
            (first..next).map(|number| counts.get(&address(number)).copied().unwrap_or(0)).collect();
        assert!(copies.iter().all(|copies| [1, 2].contains(copies)), "{copies:?}");
        let doubles = copies.iter().filter(|copies| **copies == 2).count();
        assert!(doubles <= 1, "{copies:?}");
        twice.push(doubles);
    }
    let ids: BTreeSet<String> = mail.taken().iter().map(|mail| mail["id"].to_string()).collect();
    assert_eq!(ids.len(), next, "who gets a mail twice can tell it");
    eprintln!("{} kills, {next} mails; came twice, by kill: {twice:?}", rounds());
}

#[tokio::test]
#[ignore = "needs aiosmtpd, and takes a minute; make interop runs it"]
async fn what_one_server_is_sending_no_other_one_takes_nor_waits_for() {
    let mail = MailServer::start(None);
    mail.plan(&["END hang", "END hang"]);
    let server = start(&plain(&mail), &[]);
    for number in 0..2 {
        register(&server, number).await;
    }
    until("both hang", async || mail.taken().len() == 2).await;
    let file = format!("sqlite://{}", server.folder.path().join("hallpass.db").display());
    let _other = start(&plain(&mail), &[("DATABASE_URL", &file)]);
    for number in 2..6 {
        register(&server, number).await;
    }
    until("the others are there", async || mail.taken().len() == 6).await;
    // Longer than a mail is held without a word.
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(mail.taken().len(), 6, "{:?}", mail.counts());
}

#[tokio::test]
#[ignore = "needs aiosmtpd; make interop runs it"]
async fn where_many_wait_they_are_sent_side_by_side() {
    let mail = MailServer::start(None);
    // Nothing that comes is answered, so what is begun is begun beside it.
    mail.plan(&["always END hang"]);
    let begun = Instant::now();
    let server = start(&plain(&mail), &[]);
    for number in 0..40 {
        register(&server, number).await;
    }
    until("eight are under way", async || mail.taken().len() == 8).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(30), "one after the other they would take 35 s: {took:?}");
}
