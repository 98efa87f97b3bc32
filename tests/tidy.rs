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
