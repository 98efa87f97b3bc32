//! The rules of the house, as ordinary tests: who may import whom, sizes, floats, words.

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this fails.
const FILE_LINES_MAX: usize = 500;

fn sources(root: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(root)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources below {root}");
    found
}

/// The part of a file that is not its own tests.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    code(text).lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Fails with every place in `root` whose code has one of `words`.
fn nothing_has(root: &str, words: &[&str], why: &str) {
    let mut bad = Vec::new();
    for (path, text) in sources(root) {
        for line in code_lines(&text) {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                bad.push(format!("{}: `{word}` in `{line}`", path.display()));
            }
        }
    }
    assert!(bad.is_empty(), "{why}\n{}", bad.join("\n"));
}

#[test]
fn the_domain_is_pure() {
    let words = [
        "crate::store",
        "crate::engine",
        "crate::api",
        "crate::jobs",
        "crate::cli",
        "crate::clock",
        "sqlx",
        "tokio",
        "async ",
        "axum",
        "reqwest",
        "tracing",
        "std::fs",
        "std::net",
    ];
    nothing_has("src/domain", &words, "the domain knows values and nothing else");
}

#[test]
fn the_contract_knows_nobody() {
    nothing_has(
        "connectors/contract",
        &["reqwest", "tokio", "axum", "std::fs", "std::net", "crate::mobile"],
        "the contract does no I/O",
    );
}

#[test]
fn files_stay_small_and_say_what_they_are_for() {
    for root in ["src", "connectors", "tests"] {
        for (path, text) in sources(root) {
            assert!(text.starts_with("//!"), "{} must open with what it is for", path.display());
            assert!(code(&text).lines().count() <= FILE_LINES_MAX, "{} is too long", path.display());
        }
    }
}

#[test]
fn no_floats_near_money() {
    nothing_has("connectors/contract", &["f32", "f64"], "money is exact");
    nothing_has("src/domain", &["f32", "f64"], "money is exact");
}

#[test]
fn the_picture_of_the_states_is_the_table() {
    let picture = include_str!("snapshots/states.txt");
    assert_eq!(
        picture,
        paymaster::domain::disbursement::diagram(),
        "write the new diagram to tests/snapshots/states.txt"
    );
}

#[test]
fn rooms_look_only_where_they_may() {
    let rooms = [
        ("src/store", &["crate::engine", "crate::api", "crate::cli", "crate::config"][..], "the store decides nothing"),
        (
            "src/engine",
            &["crate::api", "crate::cli", "crate::config", "crate::jobs", "sqlx", "axum", "reqwest"],
            "the engine knows no door and no SQL",
        ),
        ("src/api", &["crate::cli", "crate::config", "sqlx", "crate::store::db"], "a door calls engine verbs"),
        ("src/cli", &["sqlx", "reqwest"], "a door calls engine verbs"),
        ("src/jobs", &["crate::api", "crate::cli", "crate::config"], "jobs call engine verbs"),
        ("connectors", &["paymaster::", "sqlx", "apalis"], "a connector knows the contract only"),
    ];
    for (root, words, why) in rooms {
        nothing_has(root, words, why);
    }
}

#[test]
fn only_the_clock_asks_the_time_and_draws_randomness() {
    let words = ["SystemTime::now", "Utc::now", "SystemRandom"];
    for root in ["src/domain", "src/engine", "src/jobs", "src/api"] {
        nothing_has(root, &words, "clock.rs asks the time");
    }
}

#[test]
fn there_are_no_words_that_say_nothing() {
    for root in ["src", "connectors"] {
        for (path, _) in sources(root) {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let empty = ["util", "utils", "common", "helper", "helpers", "manager", "handler", "misc", "data", "info"];
            assert!(!empty.contains(&name.as_str()), "{} needs a name that says what it is for", path.display());
        }
    }
}
