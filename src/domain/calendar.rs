//! Banking days, cut-offs and the day a payment is asked for, on the provider's own clock.
//! Deliberately not here: what happens to a batch whose window is closed.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use paymaster_connectors::contract::Calendar;

/// How far a banking day is looked for.
const DAYS_MAX: u64 = 400;

/// Whether a provider takes what is sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// It does, and is to pay on this day.
    Open(NaiveDate),
    /// It does not; it does again from this instant on, microseconds UTC.
    Closed(i64),
}

/// Whether a provider takes what is to be paid on `pay_on`, or as soon as may be; `None` where the calendar has no
/// banking day within a year. `now` in microseconds UTC.
pub fn window(calendar: &Calendar, pay_on: Option<NaiveDate>, now: i64) -> Option<Window> {
    let local = DateTime::from_timestamp_micros(now)?.with_timezone(&calendar.zone).naive_local();
    let today = local.date();
    let closed = |day: NaiveDate| Some(Window::Closed(instant(calendar.zone, day.and_time(calendar.opens))?));
    if !is_banking_day(calendar, today) || local.time() >= calendar.cut_off {
        return closed(banking_day_after(calendar, today)?);
    }
    if local.time() < calendar.opens {
        return closed(today);
    }
    let mut day = today;
    for _ in 0..calendar.lead_days {
        day = banking_day_after(calendar, day)?;
    }
    Some(Window::Open(banking_day_from(calendar, pay_on.map_or(day, |wanted| wanted.max(day)))?))
}

/// Whether the provider works on a day.
pub fn is_banking_day(calendar: &Calendar, day: NaiveDate) -> bool {
    !calendar.rest_days.contains(&day.weekday()) && !calendar.holidays.contains(&day)
}

fn banking_day_after(calendar: &Calendar, day: NaiveDate) -> Option<NaiveDate> {
    banking_day_from(calendar, day.succ_opt()?)
}

fn banking_day_from(calendar: &Calendar, day: NaiveDate) -> Option<NaiveDate> {
    (0..DAYS_MAX).filter_map(|days| day.checked_add_days(Days::new(days))).find(|day| is_banking_day(calendar, *day))
}

/// The first instant at which the zone's clocks show this time or, where they skip it, a later one.
fn instant(zone: Tz, local: NaiveDateTime) -> Option<i64> {
    let shown = (0..=4).map(|quarters| local + TimeDelta::minutes(15 * quarters));
    let first = shown.filter_map(|local| zone.from_local_datetime(&local).earliest()).next()?;
    Some(first.with_timezone(&Utc).timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Weekday;

    fn calendar() -> Calendar {
        Calendar {
            zone: chrono_tz::Africa::Nairobi,
            rest_days: vec![Weekday::Sat, Weekday::Sun],
            holidays: vec!["2026-12-25".parse().unwrap()],
            opens: "08:00:00".parse().unwrap(),
            cut_off: "15:30:00".parse().unwrap(),
            lead_days: 0,
        }
    }

    fn at(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn before_the_cut_off_it_is_paid_today_and_from_it_on_it_waits_for_the_next_banking_day() {
        // Nairobi is three hours ahead. A Thursday.
        let before = window(&calendar(), None, at("2026-12-24T12:29:59Z"));
        assert_eq!(before, Some(Window::Open(day("2026-12-24"))));
        // Friday is a holiday, then comes the weekend.
        let after = window(&calendar(), None, at("2026-12-24T12:30:00Z"));
        assert_eq!(after, Some(Window::Closed(at("2026-12-28T05:00:00Z"))));
        assert_eq!(window(&calendar(), None, at("2026-12-26T09:00:00Z")), after);
        let early = window(&calendar(), None, at("2026-12-24T04:59:59Z"));
        assert_eq!(early, Some(Window::Closed(at("2026-12-24T05:00:00Z"))));
    }

    #[test]
    fn the_day_is_a_banking_day_and_not_before_the_one_that_was_asked_for() {
        let now = at("2026-12-23T09:00:00Z");
        assert_eq!(window(&calendar(), Some(day("2026-12-25")), now), Some(Window::Open(day("2026-12-28"))));
        let slow = Calendar { lead_days: 2, ..calendar() };
        assert_eq!(window(&slow, None, now), Some(Window::Open(day("2026-12-28"))), "24, then 28");
        assert_eq!(window(&slow, Some(day("2027-02-28")), now), Some(Window::Open(day("2027-03-01"))));
    }

    #[test]
    fn midnight_leap_days_and_clocks_that_are_changed() {
        let late = Calendar { cut_off: "23:59:59".parse().unwrap(), ..calendar() };
        assert_eq!(window(&late, None, at("2028-02-29T20:59:58Z")), Some(Window::Open(day("2028-02-29"))));
        assert_eq!(window(&late, None, at("2028-02-29T20:59:59Z")), Some(Window::Closed(at("2028-03-01T05:00:00Z"))));
        // At 02:00 of the 28th clocks in Berlin go to 03:00: the bank opens when they show 03:00.
        let berlin = Calendar {
            zone: chrono_tz::Europe::Berlin,
            rest_days: Vec::new(),
            opens: "02:30:00".parse().unwrap(),
            ..calendar()
        };
        let opens = window(&berlin, None, at("2027-03-27T20:00:00Z"));
        assert_eq!(opens, Some(Window::Closed(at("2027-03-28T01:00:00Z"))));
        // On the 31st of October 02:30 comes twice: the first one counts.
        let opens = window(&berlin, None, at("2027-10-30T20:00:00Z"));
        assert_eq!(opens, Some(Window::Closed(at("2027-10-31T00:30:00Z"))));
    }

    #[test]
    fn a_calendar_without_a_banking_day_has_no_window() {
        let all = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
        let never = Calendar { rest_days: all.to_vec(), ..calendar() };
        assert_eq!(window(&never, None, at("2026-12-23T09:00:00Z")), None);
    }
}
