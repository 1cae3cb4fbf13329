//! The tables in which is counted.

use std::{net::IpAddr, sync::Arc};

use hallpass::{
    auth::limits::Limits,
    error::Error,
    model::{Client, MailKind, Tick, Time},
};

use super::{
    super::app::{START, TestApp},
    DAY, address, client, peopled,
};

#[tokio::test]
async fn what_was_not_looked_at_is_not_counted_but_who_hangs_up_is() {
    let app = peopled().await;
    let (limits, tick, now) = (&app.app.limits, app.app.clock.tick(), Time::from_unix(START));
    let begin = |n: u16, name: &str| limits.login(tick, now, client(&address(n)), name);
    for n in 0..30 {
        begin(n, "john").unwrap().failed(&Error::Overloaded);
        begin(n, "john").unwrap().failed(&Error::StorageUnavailable("locked".into()));
    }
    for n in 100..110 {
        drop(begin(n, "john").unwrap());
    }
    assert!(matches!(begin(110, "john"), Err(Error::TooManyAttempts { retry_after: 30 })));
}

#[tokio::test]
async fn the_time_of_day_has_no_say() {
    let limits = Limits::new(true, Tick::from_millis(5_000)).unwrap();
    for year in -20..20 {
        let now = Time::from_unix(START + year * 365 * DAY);
        let begun =
            (0..20).filter(|n| limits.login(Tick::from_millis(9_000), now, client(&address(*n)), "john").is_ok());
        assert_eq!(begun.count(), if year == -20 { 10 } else { 0 }, "{year}");
    }
    let later = Tick::from_millis(9_000 + 30_000);
    assert!(limits.login(later, Time::from_unix(0), client("192.0.2.1"), "john").is_ok());
}

#[tokio::test]
async fn without_limits_nothing_is_counted() {
    let app = TestApp::new().await;
    for n in 0..40 {
        assert_eq!(app.try_login("nobody", "wrong").await.status, 401, "{n}");
    }
}

#[test]
fn that_all_mails_are_used_up_is_logged_once_a_minute() {
    let limits = Limits::new(true, Tick::from_millis(0)).unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let writer = Arc::new(log.reopen().unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        for second in 0..125 {
            let asked = if second == 0 { 3_600 } else { 5 };
            let may = (0..asked).filter(|_| limits.mail(Tick::from_millis(1_000 * second))).count();
            assert_eq!(may, if second == 0 { 3_600 } else { 1 });
        }
    });
    let log = std::fs::read_to_string(log.path()).unwrap();
    let told = log.lines().filter(|line| line.contains("ERROR") && line.contains(r#"limit="mails""#));
    assert_eq!(told.count(), 3, "{log}");
}

/// Of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    4_096 * statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
}

/// In a process of its own: memory is measured.
#[test]
fn a_million_names_and_addresses_take_less_than_64_mib_and_hide_nobody() {
    const ALONE: &str = "HALLPASS_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "limits::tables::a_million_names_and_addresses_take_less_than_64_mib_and_hide_nobody";
        let this = std::env::current_exe().unwrap();
        let output = std::process::Command::new(this).args(["--exact", name]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let limits = Limits::new(true, Tick::from_millis(0)).unwrap();
    let now = Time::from_unix(START);
    let at = |address: IpAddr| Client { address, ..client("127.0.0.1") };
    let login = |tick, address: IpAddr, name: &str| limits.login(Tick::from_millis(tick), now, at(address), name);
    for n in 0..16_u8 {
        assert_eq!(login(0, [192, 0, 2, n].into(), "john").is_ok(), n < 10);
    }
    // John is attacked until the longest delay.
    let mut tick = 0;
    for seconds in [30, 60, 120, 240, 480, 900] {
        tick += 1_000 * seconds;
        assert!(login(tick, [192, 0, 2, 99].into(), "john").is_ok());
    }
    let before = resident();
    let mut throttled = 0;
    for n in 0..1_000_000_u32 {
        let tick = tick + u64::from(n) * 60 / 1_000;
        let address = IpAddr::from(n.to_be_bytes());
        let moment = Tick::from_millis(tick);
        let mut ok = login(tick, address, &format!("user{n}")).is_ok();
        ok &= limits.register(moment, at(address)).is_ok();
        ok &= limits.refresh(moment, at(address)).is_ok();
        ok &= limits.code(moment, at(address)).is_ok();
        ok &= limits.mail_from(moment, at(address));
        limits.mail_to(moment, MailKind::Reset, &format!("user{n}@example.org"));
        throttled += u32::from(!ok);
    }
    let grown = resident() - before;
    assert!(grown < 64 * 1024 * 1024, "{grown}");
    assert!(throttled < 1_000, "{throttled}");
    let end = tick + 60_000;
    assert!(login(end, [203, 0, 113, 1].into(), "john").is_err(), "forgotten");
    assert!(login(end, [203, 0, 113, 2].into(), "jane").is_ok(), "an honest one");
    println!("{} KiB", grown / 1024);
}
