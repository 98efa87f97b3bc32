//! What a person sees while waiting: bars on a terminal, plain lines otherwise.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a plain line tells how far it is.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where a command speaks. With JSON asked for, words go to standard error and the object alone to standard output.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// One JSON object is printed last.
    pub json: bool,
}

impl Screen {
    /// Prints a line.
    pub fn line(self, text: impl AsRef<str>) {
        // Nobody is left to tell when the screen itself is gone.
        let _ = if self.json {
            writeln!(std::io::stderr(), "{}", text.as_ref())
        } else {
            writeln!(std::io::stdout(), "{}", text.as_ref())
        };
    }

    /// Prints the JSON object.
    pub fn object(self, object: &serde_json::Value) {
        let _ = writeln!(std::io::stdout(), "{object}");
    }

    /// A stage that takes a while.
    pub fn stage(self, name: &str, total: u64) -> Stage {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("  {prefix:<12} {bar:32} {pos:>9}/{len:<9} {elapsed}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.to_owned());
            bar
        });
        Stage { screen: self, name: name.to_owned(), total, bar, told_at: Instant::now() }
    }
}

/// One stage under way.
#[derive(Debug)]
pub struct Stage {
    screen: Screen,
    name: String,
    total: u64,
    bar: Option<ProgressBar>,
    told_at: Instant,
}

impl Stage {
    /// How far it is.
    pub fn at(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.told_at.elapsed() >= LINE_EVERY {
            self.told_at = Instant::now();
            self.screen.line(format!("  {:<12} {done} of {}", self.name, self.total));
        }
    }

    /// It is done, with what came of it.
    pub fn done(self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.screen.line(format!("  {:<12} {text}", self.name));
    }
}
