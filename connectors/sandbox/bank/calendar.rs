//! The bank's days: Monday to Friday. Deliberately not here: public holidays, and what time it is.

use chrono::{Datelike, NaiveDate, Weekday};

/// The day itself when the bank is open on it, or else the next one on which it is.
pub(super) fn on_or_after(day: NaiveDate) -> NaiveDate {
    match day.weekday() {
        Weekday::Sat | Weekday::Sun => next(day),
        _ => day,
    }
}

/// The next business day. The last day of the calendar has none and stands for itself.
pub(super) fn next(day: NaiveDate) -> NaiveDate {
    let days = std::iter::successors(day.succ_opt(), NaiveDate::succ_opt);
    let mut open = days.filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun));
    open.next().unwrap_or(day)
}

/// The business day before.
pub(super) fn previous(day: NaiveDate) -> NaiveDate {
    let days = std::iter::successors(day.pred_opt(), NaiveDate::pred_opt);
    let mut open = days.filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun));
    open.next().unwrap_or(day)
}

/// So many business days later.
pub(super) fn later(day: NaiveDate, days: u32) -> NaiveDate {
    (0..days.min(DAYS_MAX)).fold(day, |day, _| next(day))
}

/// Longest time between two things that depend on each other.
const DAYS_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekends_are_passed_over() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(on_or_after(day("2026-11-27")), day("2026-11-27"));
        assert_eq!(on_or_after(day("2026-11-28")), day("2026-11-30"));
        assert_eq!(next(day("2026-11-27")), day("2026-11-30"));
        assert_eq!(later(day("2026-11-26"), 3), day("2026-12-01"));
        assert_eq!(next(NaiveDate::MAX), NaiveDate::MAX);
    }
}
