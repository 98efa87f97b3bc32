//! What must stand before a payroll can come: tenants, programmes, cycles, money, tokens, holds.

use chrono::NaiveDate;
use paymaster_connectors::contract::Currency;

use super::{Actor, Engine, Error, Outcome, RefusedKind, refused};
use crate::domain::id::{Cycle, Id, Programme, Tenant, Token};
use crate::store::ledger::{Account, Entry};
use crate::store::notes::{self, Fact};
use crate::store::party::{self, ProgrammeRow, TokenRow};
use crate::store::payroll::Total;
use crate::store::seal::sha256;
use crate::store::{Scope, ledger};

/// What the holder of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Hands in and submits payrolls.
    Maker,
    /// Approves and releases what somebody else made.
    Checker,
    /// Reads.
    Auditor,
    /// Sets up programmes, cycles, funding, holds and tokens.
    Admin,
}

impl Role {
    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Maker => "maker",
            Self::Checker => "checker",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Maker, Self::Checker, Self::Auditor, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}

/// A programme to make or to change.
#[derive(Debug, Clone)]
pub struct ProgrammeRequest {
    /// Short name, unique in the tenant.
    pub code: String,
    /// Shown name.
    pub name: String,
    /// The one currency it pays in; it cannot be changed later.
    pub currency: Currency,
    /// Refuse a payroll as a whole when one row is bad, instead of leaving that row out.
    pub all_or_nothing: bool,
    /// Ceiling of one payment in minor units.
    pub amount_minor_max: Option<i64>,
    /// How many rows of a payroll may share one payee account before it is flagged.
    pub shared_account_max: Option<i64>,
}

/// A period to make.
#[derive(Debug, Clone)]
pub struct CycleRequest {
    /// Short name, unique in the programme: `2026-11`.
    pub code: String,
    /// First day.
    pub first_day: NaiveDate,
    /// Last day.
    pub last_day: NaiveDate,
}

/// Longest code of a programme or cycle.
const CODE_CHARS_MAX: usize = 40;

/// Whether a programme or cycle can have this code. What cannot is unknown without asking the database, which
/// does not take every text.
pub(super) fn is_code(code: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=CODE_CHARS_MAX).contains(&code.len()) && code.chars().all(plain)
}

fn check_code(code: &str) -> Outcome<()> {
    if !is_code(code) {
        let text = format!("a code has 1 to {CODE_CHARS_MAX} characters of a-z, A-Z, 0-9, '-', '_' and '.'");
        return refused(RefusedKind::Invalid, "code_malformed", text);
    }
    Ok(())
}

impl Engine {
    /// The tenant with this code, made if it is missing.
    pub async fn tenant(&self, code: &str) -> Outcome<Scope> {
        check_code(code)?;
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let tenant = party::tenant(&mut tx, numbers.take()?, code).await?;
        tx.commit().await?;
        Ok(Scope { tenant })
    }

    /// Makes a programme or brings its settings up to date.
    pub async fn save_programme(&self, actor: &Actor, request: &ProgrammeRequest) -> Outcome<ProgrammeRow> {
        check_code(&request.code)?;
        let now = self.clock.now();
        let mut numbers = self.store.draw(2, now).await?;
        let mut tx = self.store.begin().await?;
        let known = party::programme(&mut tx, &actor.scope, &request.code).await?;
        if known.as_ref().is_some_and(|known| known.currency != request.currency.code()) {
            return refused(RefusedKind::Conflict, "currency_fixed", "a programme's currency cannot be changed");
        }
        let row = ProgrammeRow {
            id: known.map_or(Id::new(numbers.take()?), |known| known.id),
            code: request.code.clone(),
            name: request.name.clone(),
            currency: request.currency.code().to_owned(),
            intake_mode: if request.all_or_nothing { "all_or_nothing" } else { "eject" }.to_owned(),
            amount_minor_max: request.amount_minor_max,
            shared_account_max: request.shared_account_max,
        };
        party::save_programme(&mut tx, &actor.scope, &row).await?;
        let fact = Fact { event: "programme.saved", subject: row.id.number(), actor: &actor.person, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, actor.scope.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// A programme of the caller's tenant.
    pub async fn programme(&self, scope: &Scope, code: &str) -> Outcome<ProgrammeRow> {
        let mut tx = self.store.read().await?;
        let found = if is_code(code) { party::programme(&mut tx, scope, code).await? } else { None };
        match found {
            Some(row) => Ok(row),
            None => refused(RefusedKind::NotFound, "programme_unknown", format!("there is no programme {code}")),
        }
    }

    /// Makes a cycle. Periods of one programme do not overlap; the same request again changes nothing.
    pub async fn make_cycle(&self, actor: &Actor, programme: &str, request: &CycleRequest) -> Outcome<Id<Cycle>> {
        check_code(&request.code)?;
        if request.first_day > request.last_day {
            return refused(RefusedKind::Invalid, "period_reversed", "the first day must not be after the last day");
        }
        let programme = self.programme(&actor.scope, programme).await?;
        let (first, last) = (request.first_day.to_string(), request.last_day.to_string());
        let now = self.clock.now();
        let mut numbers = self.store.draw(2, now).await?;
        let mut tx = self.store.begin().await?;
        let overlapping = party::overlapping(&mut tx, programme.id, &first, &last).await?;
        if let Some(known) = party::cycle(&mut tx, programme.id, &request.code).await? {
            return Ok(known);
        }
        if !overlapping.is_empty() {
            let text = format!("these days belong to the cycle {} already", overlapping.join(", "));
            return refused(RefusedKind::Conflict, "period_overlaps", text);
        }
        let id = Id::new(numbers.take()?);
        party::insert_cycle(&mut tx, id, programme.id, (&request.code, &first, &last)).await?;
        let fact = Fact { event: "cycle.made", subject: id.number(), actor: &actor.person, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, actor.scope.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Adds money to a programme's funding account; `note` names the warrant or transfer it came by.
    pub async fn fund(&self, actor: &Actor, programme: &str, amount_minor: i64, note: &str) -> Outcome<i64> {
        if amount_minor <= 0 {
            return refused(RefusedKind::Invalid, "amount_not_positive", "funding must be more than zero");
        }
        let programme = self.programme(&actor.scope, programme).await?;
        let Some(currency) = Currency::parse(&programme.currency) else {
            return Err(Error::Failed(anyhow::anyhow!("a stored currency is unknown")));
        };
        let now = self.clock.now();
        let mut numbers = self.store.draw(2, now).await?;
        let mut tx = self.store.begin().await?;
        let before = ledger::available(&mut tx, programme.id).await?;
        if before.checked_add(amount_minor).is_none() {
            return refused(RefusedKind::Invalid, "amount_too_large", "the funding account cannot hold so much");
        }
        let entry = Entry {
            programme: programme.id,
            currency,
            provider: "",
            debit: Account::Available,
            credit: Account::Funding,
            amount_minor,
            payroll: None,
            batch: None,
            evidence: None,
        };
        ledger::post(&mut tx, numbers.take()?, &entry, now).await?;
        let total = Total { payments: 0, sum_minor: amount_minor };
        let subject = programme.id.number();
        let fact = Fact { event: "programme.funded", subject, actor: &actor.person, total, note, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, actor.scope.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(before + amount_minor)
    }

    /// Holds a beneficiary: rows of payrolls taken in from now on are held with this reason.
    pub async fn hold_beneficiary(
        &self,
        actor: &Actor,
        programme: &str,
        beneficiary: &str,
        reason: &str,
    ) -> Outcome<()> {
        let programme = self.programme(&actor.scope, programme).await?;
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        // As intake reads the cell: a hold that was typed with spaces around must not miss.
        let hash = self.store.keys.hash(beneficiary.trim());
        party::hold(&mut tx, programme.id, &hash, reason, (&actor.person, now)).await?;
        let subject = programme.id.number();
        let fact = Fact { event: "beneficiary.held", subject, actor: &actor.person, note: reason, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, actor.scope.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Makes a bearer token and returns its secret, which is shown once and stored only as a hash.
    pub async fn make_token(&self, scope: &Scope, person: &str, role: Role) -> Outcome<(Id<Token>, String)> {
        if person.trim().is_empty() {
            return refused(RefusedKind::Invalid, "person_missing", "a token belongs to a person; name them");
        }
        let secret = crate::clock::random::<32>()?;
        let secret =
            format!("pm_{}", base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, secret));
        let now = self.clock.now();
        let id = Id::new(self.store.draw(1, now).await?.take()?);
        let row = TokenRow { id, tenant: scope.tenant, person: person.trim().to_owned(), role: role.name().to_owned() };
        let mut tx = self.store.begin().await?;
        party::insert_token(&mut tx, &row, &sha256(secret.as_bytes()), now).await?;
        tx.commit().await?;
        Ok((id, secret))
    }

    /// Who comes with this secret.
    pub async fn by_token(&self, secret: &str) -> anyhow::Result<Option<(Actor, Role)>> {
        let mut tx = self.store.read().await?;
        let Some(row) = party::token(&mut tx, &sha256(secret.as_bytes())).await? else { return Ok(None) };
        let role = Role::parse(&row.role);
        Ok(role.map(|role| (Actor { scope: Scope { tenant: row.tenant }, person: row.person }, role)))
    }

    /// Ends a token.
    pub async fn revoke_token(&self, scope: &Scope, id: Id<Token>) -> Outcome<()> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        if !party::revoke_token(&mut tx, scope, id, now).await? {
            return refused(RefusedKind::NotFound, "token_unknown", format!("there is no live token {id}"));
        }
        tx.commit().await?;
        Ok(())
    }

    /// Stops new sends to a provider, or lets them go on. Asking goes on.
    pub async fn pause_provider(&self, provider: &str, reason: Option<&str>) -> Outcome<()> {
        if self.provider(provider).is_err() {
            return refused(RefusedKind::NotFound, "provider_unknown", format!("there is no provider {provider}"));
        }
        self.set_pause(&notes::provider_pause(provider), reason).await
    }

    /// Stops new sends of a programme, or lets them go on. Asking goes on.
    pub async fn pause_programme(&self, programme: Id<Programme>, reason: Option<&str>) -> Outcome<()> {
        self.set_pause(&notes::programme_pause(programme), reason).await
    }

    async fn set_pause(&self, code: &str, reason: Option<&str>) -> Outcome<()> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        match reason {
            Some(reason) => notes::pause(&mut tx, code, reason, now).await?,
            None => {
                notes::resume(&mut tx, code).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// The tenant of this code, if there is one.
    pub async fn find_tenant(&self, code: &str) -> anyhow::Result<Option<Id<Tenant>>> {
        let mut tx = self.store.read().await?;
        party::tenant_by_code(&mut tx, code).await
    }
}
