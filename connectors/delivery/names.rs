//! Names of files: which we put, and which we take.

/// Longest name that is put.
const PUT_CHARS_MAX: usize = 200;
/// Longest name that is taken.
const TAKEN_BYTES_MAX: usize = 255;
/// Endings of names under which files are still being written.
const UNFINISHED: [&str; 4] = [".part", ".tmp", ".filepart", ".partial"];

/// Whether a file may be put under this name: letters, digits, `.`, `_` and `-`, not hidden.
pub(super) fn may_be_put(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= PUT_CHARS_MAX && !name.starts_with('.') && name.chars().all(plain)
}

/// Whether a file of this name is whole and its name is none to be careful with.
pub(super) fn is_whole_name(name: &str) -> bool {
    let unfinished = UNFINISHED.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
    if name.starts_with('.') || name.starts_with('~') || unfinished {
        return false;
    }
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | char::REPLACEMENT_CHARACTER);
    let is_plain = !name.is_empty() && name.len() <= TAKEN_BYTES_MAX && !name.chars().any(odd);
    if !is_plain {
        tracing::warn!(file = %shown(name), "a file with an odd name is left where it is");
    }
    is_plain
}

/// A name as it may be printed.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(TAKEN_BYTES_MAX).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_a_folder_or_a_line_are_not_used() {
        for bad in ["", ".", "..", "../x", "a/b", "a\nb", ".hidden", "a b", "ä"] {
            assert!(!may_be_put(bad), "{bad:?}");
        }
        assert!(may_be_put("PAIN001_20261125_000000008JN20007.xml"));
        for bad in
            ["", ".x.part", "x.xml.part", "x.TMP", "a\nb", "a\0b", "../x", "a/b", &"x".repeat(256), "\u{fffd}.xml"]
        {
            assert!(!is_whole_name(bad), "{bad:?}");
        }
        assert!(is_whole_name("Kontoauszug März 2026.xml"));
    }
}
