//! Logins that an owner is told of.

use hallpass::model::MailKind;

use super::{super::app::PASSWORD, address, peopled};

#[tokio::test]
async fn an_owner_is_told_of_a_login_from_elsewhere_that_came_after_too_many_failures() {
    for (name, (home, from), guesses, is_told) in [
        ("john", ("192.0.2.1", "203.0.113.9"), 100, true),
        // Found by its address.
        ("john@example.org", ("192.0.2.1", "203.0.113.9"), 100, true),
        ("john", ("192.0.2.1", "192.0.2.1"), 100, false),
        ("john", ("192.0.2.1", "203.0.113.9"), 9, false),
        // From home.
        ("john", ("192.0.2.1", "192.0.2.1"), 10, false),
    ] {
        let app = peopled().await;
        let row = format!("{name} {home} {from} {guesses}");
        assert_eq!(app.login_from(home, "john", PASSWORD).await.status, 200);
        app.mails().await;
        if guesses == 100 {
            app.attack("john", 0).await;
        } else {
            app.sleep(60);
            for n in 0..guesses {
                let elsewhere = address(n);
                let from = if from == home { home } else { &elsewhere };
                assert_eq!(app.login_from(from, "john", "wrong").await.status, 401);
            }
        }
        app.sleep(30);
        assert_eq!(app.login_from(from, name, PASSWORD).await.status, 200, "{row}");
        let told: Vec<_> = app.mails().await.into_iter().map(|mail| (mail.kind, mail.to)).collect();
        let expected = is_told.then(|| (MailKind::LoginAfterFailures, "john@example.org".to_owned()));
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{row}");
        // From there it has logged in now.
        assert_eq!(app.login_from(from, name, PASSWORD).await.status, 200, "{row}");
        assert!(app.mails().await.is_empty(), "{row}");
    }
}

#[tokio::test]
async fn an_address_that_nobody_proved_is_told_of_no_login_and_nobody_too_often() {
    let app = peopled().await;
    app.mails().await;
    let login = async |n: u16| {
        app.attack("john", n * 200).await;
        app.sleep(30);
        assert_eq!(app.login_from(&address(10_000 + n), "john", PASSWORD).await.status, 200);
        app.mails().await.len()
    };
    let mut told = 0;
    for n in 0..8 {
        told += login(n).await;
    }
    assert_eq!(told, 3, "as many as there are of any kind for one recipient");
    app.sleep(3_600);
    assert_eq!(login(9).await, 1);
    app.sleep(3_600);
    app.sql(
        "UPDATE users SET claimed_email = email, claimed_email_key = email_key, claimed_at = 1, email = NULL,
                          email_key = NULL, email_verified_at = NULL",
    )
    .await;
    assert_eq!(login(10).await, 0);
}
