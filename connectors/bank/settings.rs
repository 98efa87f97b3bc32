//! The settings of one bank, and the facts they amount to.
//! Deliberately not here: where secrets come from; they arrive resolved.

use std::time::Duration;

use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;
use serde::Deserialize;

use crate::contract::{self, Calendar, Dedupe, Failure, Inquiry, Profile, Reason, ReasonClass};
use crate::delivery;
use crate::iso20022::BankProfile;
use crate::mt940;

/// Most banking days between sending and paying.
const LEAD_DAYS_MAX: u32 = 30;
/// Most holidays of a calendar.
const HOLIDAYS_MAX: usize = 1_000;
/// Seconds of a day.
const DAY_SECONDS: u64 = 24 * 3_600;

/// Everything that differs between two banks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What the bank wants in our files, and how its status reports are read.
    pub bank: BankProfile,
    /// How files travel.
    pub delivery: delivery::Settings,
    /// When the bank takes files; at any time without it.
    #[serde(default)]
    pub calendar: Option<CalendarSettings>,
    /// How far its MT940 statements may depart from the standard.
    #[serde(default)]
    pub mt940: mt940::Mode,
    /// Whose word settles a payment.
    #[serde(default)]
    pub finality: Finality,
    /// How many days a file of ours can be seen in the bank's folders after it was taken. While it can, what is not
    /// there was not delivered, and may be put again. 0 claims nothing.
    #[serde(default)]
    pub kept_days: u32,
    /// How many days the bank, by contract, refuses a second file with the same message id. 0 claims nothing.
    #[serde(default)]
    pub duplicates_refused_days: u32,
    /// How often the bank's folders are looked into.
    #[serde(default = "defaults::collect_every_seconds")]
    pub collect_every_seconds: u64,
    /// Longest time a delivery that was begun may still take effect.
    #[serde(default = "defaults::fence_seconds")]
    pub fence_seconds: u64,
    /// Pause before a file that may not have been delivered is looked for.
    #[serde(default = "defaults::look_every_seconds")]
    pub look_every_seconds: u64,
    /// A doubt older than this goes to a person.
    #[serde(default = "defaults::doubt_limit_seconds")]
    pub doubt_limit_seconds: u64,
}

mod defaults {
    pub fn collect_every_seconds() -> u64 {
        300
    }
    pub fn fence_seconds() -> u64 {
        600
    }
    pub fn look_every_seconds() -> u64 {
        60
    }
    pub fn doubt_limit_seconds() -> u64 {
        crate::contract::Profile::worst().doubt_limit.as_secs()
    }
}

/// Whose word settles a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// The account's statement or a notice of the booking.
    #[default]
    Statement,
    /// A status that `bank.status.settled_by` names.
    Status,
}

/// When a bank takes files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSettings {
    /// Name of its time zone, such as `Africa/Nairobi`.
    pub zone: String,
    /// Days of the week on which it does not work.
    #[serde(default = "weekend")]
    pub rest_days: Vec<Weekday>,
    /// Days on which it does not work.
    #[serde(default)]
    pub holidays: Vec<NaiveDate>,
    /// From when on it takes files.
    #[serde(default)]
    pub opens: NaiveTime,
    /// What comes from this time on is for the next banking day.
    pub cut_off: NaiveTime,
    /// Banking days between the one a file comes on and the one it is paid on.
    #[serde(default)]
    pub lead_days: u32,
}

fn weekend() -> Vec<Weekday> {
    vec![Weekday::Sat, Weekday::Sun]
}

impl CalendarSettings {
    fn calendar(&self) -> Result<Calendar, Failure> {
        let zone: Tz =
            self.zone.parse().map_err(|_| unusable("calendar.zone is no time zone, such as Africa/Nairobi"))?;
        let week = [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
        let rules = [
            (week.iter().any(|day| !self.rest_days.contains(day)), "calendar.rest_days leaves no day to work on"),
            (self.holidays.len() <= HOLIDAYS_MAX, "calendar.holidays has more than 1000 days"),
            (self.opens < self.cut_off, "calendar.opens must be before calendar.cut_off"),
            (self.lead_days <= LEAD_DAYS_MAX, "calendar.lead_days must be at most 30"),
        ];
        keep(&rules)?;
        Ok(Calendar {
            zone,
            rest_days: self.rest_days.clone(),
            holidays: self.holidays.clone(),
            opens: self.opens,
            cut_off: self.cut_off,
            lead_days: self.lead_days,
        })
    }
}

impl Settings {
    /// The facts by which the engine decides.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        let seconds = Duration::from_secs;
        // Either side may be the one that lets a second file with the same name have no effect.
        let remembered_days = u64::from(self.kept_days.max(self.duplicates_refused_days));
        let dedupe = if remembered_days == 0 { Dedupe::None } else { Dedupe::ByKey };
        Ok(Profile {
            dedupe,
            dedupe_window: seconds(remembered_days * DAY_SECONDS),
            remembers_rejections: self.duplicates_refused_days > 0,
            absent_after: seconds(self.fence_seconds),
            fence: seconds(self.fence_seconds),
            inquiry: Inquiry::Direct,
            finality: match self.finality {
                Finality::Statement => contract::Finality::Statement,
                Finality::Status => contract::Finality::Status,
            },
            items_max: self.bank.payments_max,
            bytes_max: self.bank.bytes_max,
            inquire_every: seconds(self.look_every_seconds),
            inquire_every_max: seconds(self.look_every_seconds.saturating_mul(60)),
            doubt_limit: seconds(self.doubt_limit_seconds),
            calendar: self.calendar.as_ref().map(CalendarSettings::calendar).transpose()?,
            collect_every: Some(seconds(self.collect_every_seconds)),
            statements: true,
            ..Profile::worst()
        })
    }

    /// Refuses values that could not work or would make the guarantees untrue.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.bank.check().map_err(|text| unusable(format!("bank: {text}")))?;
        let settles = self.finality == Finality::Statement || !self.bank.status.settled_by.is_empty();
        keep(&[
            (settles, "finality `status` needs a status in bank.status.settled_by"),
            (self.collect_every_seconds > 0, "collect_every_seconds must be at least 1"),
            (self.fence_seconds > 0, "fence_seconds must be at least 1"),
            (self.look_every_seconds > 0, "look_every_seconds must be at least 1"),
            (self.doubt_limit_seconds > 0, "doubt_limit_seconds must be at least 1"),
        ])
    }
}

fn keep(rules: &[(bool, &str)]) -> Result<(), Failure> {
    rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(unusable(rule)))
}

/// A configuration at fault.
fn unusable(why: impl AsRef<str>) -> Failure {
    Failure::Blocked(Reason::new(ReasonClass::Format, "settings", why))
}
