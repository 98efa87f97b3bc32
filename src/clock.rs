//! The only place that asks the time or draws randomness.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ring::rand::SecureRandom;

/// Where the time comes from. Ask once per verb and pass it down.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that a test moves by hand.
    Fixed(Arc<AtomicI64>),
    /// One worker's view of a simulated world.
    Simulated(Arc<Simulated>),
}

/// The clock of one simulated worker: its own idea of the date, and time since it began.
#[derive(Debug)]
pub struct Simulated {
    /// Microseconds since 1970 UTC, as this worker believes.
    pub now: AtomicI64,
    /// Microseconds since `began`; only goes forward.
    pub passed: AtomicI64,
    /// An instant to count from.
    pub began: Instant,
}

impl Simulated {
    /// A clock that shows this date.
    pub fn new(now: i64) -> Self {
        Self { now: AtomicI64::new(now), passed: AtomicI64::new(0), began: Instant::now() }
    }
}

impl Clock {
    /// Microseconds since 1970 UTC.
    pub fn now(&self) -> i64 {
        match self {
            Self::System => {
                #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the time")]
                let now = std::time::SystemTime::now();
                let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }
            Self::Fixed(micros) => micros.load(Ordering::SeqCst),
            Self::Simulated(clock) => clock.now.load(Ordering::SeqCst),
        }
    }

    /// Now, to be measured from.
    pub fn moment(&self) -> Moment {
        Moment { date: self.now(), monotonic: self.monotonic() }
    }

    /// Time that only goes forward.
    fn monotonic(&self) -> Instant {
        match self {
            Self::System | Self::Fixed(_) => Instant::now(),
            Self::Simulated(clock) => {
                let passed = u64::try_from(clock.passed.load(Ordering::SeqCst)).unwrap_or(0);
                clock.began + Duration::from_micros(passed)
            }
        }
    }
}

/// A point in time by both clocks of a machine. The one that only goes forward stands still while the machine is
/// suspended; the date may be set. Whichever says that more time has passed is believed: a lease that ends early costs
/// a question, one that ends late may cost a payment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Microseconds since 1970 UTC.
    pub date: i64,
    monotonic: Instant,
}

impl Moment {
    /// How much time has passed since an earlier one, at least.
    pub fn since(self, earlier: Self) -> Duration {
        let by_date = u64::try_from(self.date.saturating_sub(earlier.date)).unwrap_or(0);
        self.monotonic.saturating_duration_since(earlier.monotonic).max(Duration::from_micros(by_date))
    }
}

/// Random bytes that nobody can guess.
pub fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(bytes)
}

/// An instant as RFC 3339 in UTC, as APIs and reports show it.
pub fn rfc3339(micros: i64) -> String {
    let instant = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    instant.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
