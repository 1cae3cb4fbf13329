//! What the generated document leaves out.

use serde_json::{Value, json};

/// The order of the tags, and so of the sections of Swagger UI: what people come for first.
const TAGS: [&str; 5] = ["Session", "Account", "Admin", "Discovery", "Health"];

/// Members that are always there and may be null. poem-openapi says of an `Option` that it may be missing.
const NULLABLE: &[(&str, &str)] = &[
    ("User", "email"),
    ("AdminUser", "email"),
    ("AdminUser", "disabled_at"),
    ("AdminUser", "last_login_at"),
    ("UserPage", "next_cursor"),
    ("Session", "user_agent"),
    ("SessionPage", "next_cursor"),
    ("AuditEntry", "actor"),
    ("AuditEntry", "target"),
    ("AuditEntry", "address"),
    ("AuditEntry", "request_id"),
    ("AuditEntry", "detail"),
    ("AuditPage", "next_cursor"),
];

/// The document with what poem-openapi cannot say: that bodies take no other members, which members may be
/// null, that `since` is a time, that `POST /logout` takes a token, and the order of the sections.
pub fn finish(generated: &str) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(generated) else { return generated.to_owned() };
    for schema in request_schemas(&document) {
        set(&mut document, &format!("/components/schemas/{schema}"), "additionalProperties", json!(false));
    }
    for (schema, member) in NULLABLE {
        set(&mut document, &format!("/components/schemas/{schema}/properties/{member}"), "nullable", json!(true));
        if let Some(required) = list(&mut document, &format!("/components/schemas/{schema}/required")) {
            required.push(json!(member));
        }
    }
    set(&mut document, "/components/schemas/LogoutRequest/properties/refresh_token", "nullable", json!(true));
    set(&mut document, "/components/schemas/ChangeUserRequest/properties/email", "nullable", json!(true));
    let since = "/paths/~1.well-known~1revocations/get/parameters/0/schema";
    set(&mut document, since, "format", json!("date-time"));
    // It takes a token that has expired, too, so it is not behind the guard; and none beside a refresh token.
    set(&mut document, "/paths/~1logout/post", "security", json!([{"BearerAuth": []}, {}]));
    if let Some(tags) = list(&mut document, "/tags") {
        tags.sort_by_key(|tag| TAGS.iter().position(|name| tag.get("name") == Some(&json!(name))));
    }
    // A value that was read as JSON can be written as JSON.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The names of the schemas of bodies.
fn request_schemas(document: &Value) -> Vec<String> {
    let operations = document.get("paths").and_then(Value::as_object).into_iter().flat_map(|paths| paths.values());
    let operations = operations.filter_map(Value::as_object).flat_map(|methods| methods.values());
    let references = operations.filter_map(|operation| {
        operation.pointer("/requestBody/content/application~1json/schema/$ref")?.as_str()?.rsplit('/').next()
    });
    references.map(str::to_owned).collect()
}

fn set(document: &mut Value, pointer: &str, name: &str, value: Value) {
    if let Some(object) = document.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert(name.to_owned(), value);
    }
}

fn list<'a>(document: &'a mut Value, pointer: &str) -> Option<&'a mut Vec<Value>> {
    document.pointer_mut(pointer)?.as_array_mut()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn the_document_says_what_was_left_out() {
        let document: Value = serde_json::from_str(&crate::api::spec()).unwrap();
        let schemas = &document["components"]["schemas"];
        for name in ["LoginRequest", "RegisterRequest"] {
            assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
        }
        for (schema, member) in super::NULLABLE {
            assert_eq!(schemas[schema]["properties"][member]["nullable"], true, "{schema}.{member}");
        }
        let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        assert_eq!(json!(tags), json!(super::TAGS));
    }
}
