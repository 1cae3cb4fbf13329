//! What admins may do, and for how long they are admins.

use serde_json::json;

use super::app::TestApp;

#[tokio::test]
async fn an_admin_sees_and_ends_the_sessions_of_others_until_the_role_is_gone() {
    let app = TestApp::new().await;
    let (alice, john) = (app.as_session("alice").await, app.as_session("john").await);
    let user = app.get("/me", Some(&john.access)).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/users/{user}/sessions");
    let refused = async |token: &str| {
        for answer in [app.get(&path, Some(token)).await, app.delete(&path, token).await] {
            answer.refuses(403, "insufficient_role", "Not enough permissions");
            assert_eq!(answer.header("www-authenticate"), r#"Bearer error="insufficient_scope""#);
        }
    };
    refused(&alice.access).await;
    refused(&john.access).await;

    app.sql("UPDATE users SET roles = 'user admin' WHERE username = 'alice'").await;
    let page = app.get(&path, Some(&alice.access)).await.json();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next_cursor"]), (1, &json!(null)));
    assert_eq!((&page["items"][0]["id"], &page["items"][0]["current"]), (&json!(john.sid()), &json!(false)));
    assert_eq!(app.delete(&path, &alice.access).await.status, 204);
    assert_eq!(app.verdict(&john.access).await, "session_ended");
    assert_eq!(app.verdict(&alice.access).await, "ok");
    assert_eq!(app.get(&path, Some(&alice.access)).await.json()["items"], json!([]));
    for id in ["x", "01a20a7f-d318-738a-8a3e-e3b12a82ac53"] {
        let path = format!("/admin/users/{id}/sessions");
        app.get(&path, Some(&alice.access)).await.refuses(404, "not_found", "");
        app.delete(&path, &alice.access).await.refuses(404, "not_found", "");
    }

    // The very next request, with the token of before.
    app.sql("UPDATE users SET roles = 'user admins' WHERE username = 'alice'").await;
    refused(&alice.access).await;
    app.get(&path, None).await.refuses(401, "not_authenticated", "");
}
