//! What the README shows.

use std::process::Command;

use super::program::{Server, command, free_port};

const README: &str = include_str!("../../README.md");

/// What stands between the fences of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_code_of_the_readme_stands_in_the_examples() {
    let examples = [
        ("python", include_str!("../../examples/fastapi/main.py")),
        ("js", include_str!("../../examples/express/server.mjs")),
    ];
    for (language, example) in examples {
        let blocks = blocks(language);
        assert_eq!(blocks.len(), 1);
        assert!(example.contains(blocks[0]), "{language}");
    }
}

#[test]
fn the_settings_of_the_readme_are_all_of_them() {
    for name in hallpass::config::NAMES {
        assert!(README.contains(&format!("`{name}`")), "{name}");
    }
}

/// Without what differs from run to run and machine to machine: tokens, ids, times, curl's version.
fn masked(text: &str) -> String {
    let mask = |word: &str| {
        let is_long = word.len() > 16 && word.bytes().any(|b| b.is_ascii_digit());
        if is_long || word.starts_with("curl/") { "…".to_owned() } else { word.to_owned() }
    };
    text.replace('…', "").split('"').map(mask).collect::<Vec<_>>().join("\"")
}

#[tokio::test]
#[ignore = "needs curl and sed; make interop runs it"]
async fn the_session_of_the_readme_gives_the_output_that_it_shows() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let mut demo = command(folder.path(), &["demo", "--port", &port.to_string()]);
    demo.env("LOG", "error");
    let server = Server::spawn(demo, folder, port);
    let session = blocks("console")[0];
    let (mut script, mut expected) = (Vec::new(), Vec::new());
    for line in session.lines() {
        match line.strip_prefix("$ ") {
            // What prints nothing, or ends its line.
            Some(line) if line.contains("=$(") || line.starts_with("echo") => script.push(line),
            Some(line) => script.extend([line, "echo"]),
            None => expected.push(line),
        }
    }
    let script = script.join("\n").replace("http://127.0.0.1:8000", &server.url(""));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(masked(found.trim_end()), masked(&expected.join("\n")));
}
