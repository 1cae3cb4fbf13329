//! The real program under a clock that jumps while it runs.

use std::{fs, path::Path, time::Duration};

use super::{
    SETTINGS,
    program::{PASSWORD, Server},
};

/// As libfaketime reads them, how far the clock is off or where it starts from; and the year that it shows, if that is
/// another one for sure.
const JUMPS: &[(&str, &str)] = &[
    ("+1h", ""),
    ("-1h", ""),
    ("+3650d", "203"),
    ("-3650d", "201"),
    ("@1970-01-01 00:00:10", "1970"),
    // Over the end of 32 bits, while it runs.
    ("@2038-01-19 03:14:07", "2038"),
    ("@2100-01-01 00:00:00", "2100"),
    ("+0", ""),
];

fn library() -> String {
    let all = ["x86_64", "aarch64"].map(|arch| format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1"));
    all.iter().find(|path| Path::new(path).exists()).expect("libfaketime is not installed").clone()
}

#[tokio::test]
#[ignore = "needs libfaketime; make faults runs it"]
async fn a_clock_that_jumps_ends_nothing_and_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let (library, offset) = (library(), folder.path().join("offset"));
    let set = |jump: &str| {
        // In one step: it is read at each look at the clock.
        fs::write(offset.with_extension("new"), jump).unwrap();
        fs::rename(offset.with_extension("new"), &offset).unwrap();
    };
    set("+0");
    let path = offset.to_str().unwrap().to_owned();
    let mut settings = SETTINGS.to_vec();
    settings.extend([
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &path),
        ("FAKETIME_NO_CACHE", "1"),
        // As a machine's: deadlines go by another clock, which is not set.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]);
    let mut server = Server::start_in(folder, &["serve"], &settings);
    server.register("john").await;
    let open = async |server: &Server| {
        let (status, body) = server.login("john", PASSWORD).await;
        assert_eq!(status, 200, "{body}");
        ["access_token", "refresh_token"].map(|member| body[member].as_str().unwrap().to_owned())
    };
    let logout = async |server: &Server, token: &str| {
        let post = reqwest::Client::new().post(server.url("/logout")).bearer_auth(token);
        assert_eq!(post.send().await.unwrap().status(), 204);
    };
    let ended = open(&server).await;
    logout(&server, &ended[0]).await;
    for (jump, year) in JUMPS {
        set(jump);
        // What a server does by itself is done meanwhile.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let [token, refresh] = open(&server).await;
        let (status, sessions) = server.get("/sessions", &token).await;
        assert_eq!(status, 200, "{jump}");
        let begun = sessions[0]["created_at"].as_str().unwrap();
        assert!(begun.starts_with(year), "{jump} was to be {year}, and is {begun}");
        let form = serde_json::json!({"refresh_token": refresh});
        assert_eq!(server.post("/refresh", &form).await.0, 200, "{jump}");
        logout(&server, &token).await;
        for [access, refresh] in [&ended, &[token, refresh]] {
            assert_eq!(server.get("/me", access).await.0, 401, "{jump}");
            let form = serde_json::json!({"refresh_token": refresh});
            assert_eq!(server.post("/refresh", &form).await.0, 401, "{jump}");
        }
        for path in ["/readyz", "/.well-known/jwks.json", "/.well-known/revocations"] {
            assert_eq!(server.get(path, "").await.0, 200, "{jump} {path}");
        }
        assert!(server.is_running(), "{jump}");
    }
    server.stop();
}
