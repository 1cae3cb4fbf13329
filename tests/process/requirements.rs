//! The table at the end of docs/SECURITY.md: each requirement has its test, and the test is there. And what is asked of
//! the manifest, the lock file and the sources, which no request can show.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const SECURITY: &str = include_str!("../../docs/SECURITY.md");
const MANIFEST: &str = include_str!("../../Cargo.toml");
const LOCK: &str = include_str!("../../Cargo.lock");

/// How many rows each chapter has.
const CHAPTERS: [(&str, u32); 12] = [
    ("AZ", 9),
    ("DB", 20),
    ("HT", 25),
    ("ID", 12),
    ("JW", 30),
    ("KY", 16),
    ("LC", 22),
    ("LG", 20),
    ("LO", 7),
    ("OP", 18),
    ("PW", 24),
    ("RT", 25),
];

/// Revocation and introspection of OAuth, which is not served.
const LEFT_OUT: [&str; 2] = ["RT-23", "RT-24"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The sources below a folder, or of a module: its file, and the folder of its name.
fn sources(of: &Path) -> Vec<PathBuf> {
    let file = of.with_extension("rs");
    let mut found: Vec<PathBuf> = file.is_file().then_some(file).into_iter().collect();
    for entry in std::fs::read_dir(of).into_iter().flatten() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
    found
}

/// Whether a text has a function of this name with an attribute that makes it a test.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begins = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().filter(|(_, line)| begins(line)).any(|(at, _)| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        let mut attributes = above.map(|line| line.trim_start_matches("#[").trim_start_matches("tokio::"));
        attributes.any(|attribute| attribute.starts_with("test]") || attribute.starts_with("test("))
    })
}

/// Whether what a row names is there: `module::test`, or the path of a file.
fn is_there(name: &str) -> bool {
    match name.split_once("::") {
        Some((module, test)) => {
            sources(&path(module)).iter().any(|file| has_test(&std::fs::read_to_string(file).unwrap(), test))
        }
        None => path(name).is_file(),
    }
}

/// The rows of the table: the id, what holds, and where that is shown.
fn rows(page: &str) -> Vec<[&str; 3]> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.filter_map(|line| line.split(" | ").collect::<Vec<_>>().try_into().ok());
    rows.filter(|[id, ..]: &[&str; 3]| {
        id.split_once('-').is_some_and(|(chapter, number)| {
            chapter.len() == 2 && number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit())
        })
    })
    .collect()
}

/// What is wrong with the table.
fn faults(page: &str, is_there: impl Fn(&str) -> bool) -> Vec<String> {
    let rows = rows(page);
    let expected = CHAPTERS.iter().flat_map(|(chapter, last)| (1..=*last).map(move |n| format!("{chapter}-{n:02}")));
    let mut counts: BTreeMap<String, usize> =
        expected.filter(|id| !LEFT_OUT.contains(&id.as_str())).map(|id| (id, 0)).collect();
    let mut faults = Vec::new();
    for [id, holds, shown] in &rows {
        match counts.get_mut(*id) {
            Some(count) => *count += 1,
            None => faults.push(format!("{id}: no such row")),
        }
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if holds.len() < 10 || (names.is_empty() && !shown.starts_with("does not apply: ")) {
            faults.push(format!("{id}: says neither a test nor why there is none"));
        }
        faults.extend(names.iter().filter(|name| !is_there(name)).map(|name| format!("{id}: {name} is gone")));
    }
    faults.extend(counts.iter().filter(|(_, count)| **count != 1).map(|(id, count)| format!("{id}: {count} times")));
    if !rows.is_sorted_by(|one, other| one[0] <= other[0]) {
        faults.push("not in the order of their ids".to_owned());
    }
    faults
}

#[test]
fn every_requirement_has_a_row_and_every_row_a_test_that_is_there() {
    assert_eq!(faults(SECURITY, is_there), [""; 0]);
}

#[test]
fn a_row_that_is_doubled_lost_or_empty_and_a_test_that_is_gone_are_found() {
    let row = |id: &str| SECURITY.lines().find(|line| line.starts_with(&format!("| {id} |"))).unwrap();
    let with = |new: &str| SECURITY.replace(row("AZ-02"), new);
    for (page, fault) in [
        (with(&format!("{0}\n{0}", row("AZ-02"))), "AZ-02: 2 times"),
        (with(""), "AZ-02: 0 times"),
        (with("| AZ-02 | others are left alone | we looked |"), "AZ-02: says neither a test nor why there is none"),
        (
            with("| AZ-02 | others are left alone | `tests/api/admin::no_such` |"),
            "AZ-02: tests/api/admin::no_such is gone",
        ),
        (with("| AZ-02 | others are left alone | `tests/api/none::x` |"), "AZ-02: tests/api/none::x is gone"),
        (with("| AZ-02 | others are left alone | `docs/NONE.md` |"), "AZ-02: docs/NONE.md is gone"),
        (with(&format!("{}\n| AZ-99 | something of ours | does not apply: no |", row("AZ-02"))), "AZ-99: no such row"),
    ] {
        assert!(faults(&page, is_there).contains(&fault.to_owned()), "{fault}: {:?}", faults(&page, is_there));
    }
    // A helper is no test, nor is what only begins like one.
    let source = "#[tokio::test(flavor = \"x\")]\n#[ignore = \"x\"]\nasync fn a_test() {}\n\nfn a_helper() {}";
    assert!(has_test(source, "a_test") && !has_test(source, "a_tes") && !has_test(source, "a_helper"));
}

/// `major.minor.patch`, and what there is of it.
fn version(text: &str) -> Vec<u64> {
    text.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

/// All versions of a package in the lock file.
fn locked(name: &str) -> Vec<&'static str> {
    let packages = LOCK.split("[[package]]").filter(|package| package.contains(&format!("\nname = \"{name}\"\n")));
    packages.map(|package| package.split("\nversion = \"").nth(1).unwrap().split('"').next().unwrap()).collect()
}

/// What is known to be bad below these, whether an advisory database has it or not. Those that are not here today may
/// come tomorrow.
const MINIMUMS: [(&str, &str); 14] = [
    ("bytes", "1.11.1"),
    ("curve25519-dalek", "4.1.3"),
    ("ed25519-dalek", "2.0.0"),
    ("h2", "0.4.16"),
    ("hyper", "0.14.10"),
    ("idna", "1.0.3"),
    ("jsonwebtoken", "10.3.0"),
    ("lettre", "0.11.22"),
    ("ring", "0.17.12"),
    ("rustls-webpki", "0.103.13"),
    ("sqlx", "0.8.1"),
    ("time", "0.3.47"),
    ("totp-rs", "1.1.0"),
    ("tracing-subscriber", "0.3.20"),
];

#[test]
fn nothing_is_locked_at_a_version_that_is_known_to_be_bad() {
    let mut found = 0;
    for (name, minimum) in MINIMUMS {
        for version_ in locked(name) {
            assert!(version(version_) >= version(minimum), "{name} {version_} is below {minimum}");
            found += 1;
        }
    }
    assert!(found >= 8, "the lock file is read");
    // RUSTSEC-2023-0071 has no fix.
    assert_eq!(locked("rsa"), [""; 0]);
    assert!(version("0.9.0") < version("0.10.0") && version("1.2") < version("1.2.1"));
}

#[test]
fn the_manifest_forbids_unsafe_code_and_lets_a_panic_unwind() {
    let section = |name: &str| MANIFEST.split(&format!("\n[{name}]\n")).nth(1).unwrap().split("\n[").next().unwrap();
    assert!(section("lints.rust").contains("unsafe_code = \"forbid\""));
    assert!(section("profile.release").contains("overflow-checks = true"));
    assert!(!MANIFEST.lines().any(|line| line.trim_start().starts_with("panic =") && line.contains("abort")));
    assert!(!std::fs::read_to_string(path(".cargo/config.toml")).unwrap().contains("panic"));
}

#[test]
fn no_statement_is_put_together_from_what_somebody_sent() {
    let all = sources(&path("src"));
    assert!(all.len() > 80);
    for file in all {
        let source = std::fs::read_to_string(&file).unwrap();
        // What sqlx takes besides a text of the program itself.
        for word in ["AssertSqlSafe", "QueryBuilder", "SqlStr"] {
            assert!(!source.contains(word), "{word} in {}", file.display());
        }
    }
}
