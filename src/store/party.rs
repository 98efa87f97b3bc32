//! Tenants, programmes, cycles, holds on beneficiaries, and the tokens people come with.

use anyhow::Result;

use super::db::{Row, Tx};
use super::{Scope, values};
use crate::domain::id::{Cycle, Id, Programme, Tenant, Token};

/// A programme as stored.
#[derive(Debug, Clone)]
pub struct ProgrammeRow {
    /// Its number.
    pub id: Id<Programme>,
    /// Short name, unique in its tenant.
    pub code: String,
    /// Shown name.
    pub name: String,
    /// ISO 4217 code.
    pub currency: String,
    /// `eject` or `all_or_nothing`.
    pub intake_mode: String,
    /// Ceiling of one payment in minor units.
    pub amount_minor_max: Option<i64>,
    /// How many beneficiaries may share one payee account before it is flagged.
    pub shared_account_max: Option<i64>,
}

const PROGRAMME: &str =
    "SELECT number, code, name, currency, intake_mode, amount_minor_max, shared_account_max FROM programme";

fn programme_row(row: &Row) -> Result<ProgrammeRow> {
    Ok(ProgrammeRow {
        id: Id::new(row.int(0)?),
        code: row.text(1)?,
        name: row.text(2)?,
        currency: row.text(3)?,
        intake_mode: row.text(4)?,
        amount_minor_max: row.maybe_int(5)?,
        shared_account_max: row.maybe_int(6)?,
    })
}

/// The tenant with this code, made if it is missing.
pub async fn tenant(tx: &mut Tx, number: i64, code: &str) -> Result<Id<Tenant>> {
    tx.execute("INSERT INTO tenant (number, code) VALUES ($1, $2) ON CONFLICT DO NOTHING", values![number, code])
        .await?;
    Ok(Id::new(tx.one("SELECT number FROM tenant WHERE code = $1", values![code]).await?.int(0)?))
}

/// The code of a tenant.
pub async fn tenant_code(tx: &mut Tx, scope: &Scope) -> Result<String> {
    tx.one("SELECT code FROM tenant WHERE number = $1", values![scope.tenant.number()]).await?.text(0)
}

/// The tenant with this code, if there is one.
pub async fn tenant_by_code(tx: &mut Tx, code: &str) -> Result<Option<Id<Tenant>>> {
    let row = tx.row("SELECT number FROM tenant WHERE code = $1", values![code]).await?;
    row.map(|row| row.int(0).map(Id::new)).transpose()
}

/// Makes a programme with an empty funding account, or brings its settings up to date. The currency stays.
pub async fn save_programme(tx: &mut Tx, scope: &Scope, programme: &ProgrammeRow) -> Result<()> {
    let sql = "INSERT INTO programme (number, tenant, code, name, currency, intake_mode, amount_minor_max, \
               shared_account_max) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, code) DO UPDATE SET \
               name = $4, intake_mode = $6, amount_minor_max = $7, shared_account_max = $8";
    let bound = values![
        programme.id.number(),
        scope.tenant.number(),
        &programme.code,
        &programme.name,
        &programme.currency,
        &programme.intake_mode,
        programme.amount_minor_max,
        programme.shared_account_max
    ];
    tx.execute(sql, bound).await?;
    let sql = "INSERT INTO funding_account (programme, currency, available_minor) SELECT number, currency, 0 \
               FROM programme WHERE tenant = $1 AND code = $2 ON CONFLICT DO NOTHING";
    tx.execute(sql, values![scope.tenant.number(), &programme.code]).await.map(|_| ())
}

/// A programme by its code.
pub async fn programme(tx: &mut Tx, scope: &Scope, code: &str) -> Result<Option<ProgrammeRow>> {
    let sql = format!("{PROGRAMME} WHERE tenant = $1 AND code = $2");
    tx.row(&sql, values![scope.tenant.number(), code]).await?.as_ref().map(programme_row).transpose()
}

/// A programme by its number.
pub async fn programme_by_id(tx: &mut Tx, id: Id<Programme>) -> Result<ProgrammeRow> {
    programme_row(&tx.one(&format!("{PROGRAMME} WHERE number = $1"), values![id.number()]).await?)
}

/// The tenant a programme belongs to.
pub async fn tenant_of(tx: &mut Tx, programme: Id<Programme>) -> Result<Id<Tenant>> {
    let sql = "SELECT tenant FROM programme WHERE number = $1";
    Ok(Id::new(tx.one(sql, values![programme.number()]).await?.int(0)?))
}

/// All programmes of a tenant.
pub async fn programmes(tx: &mut Tx, scope: &Scope) -> Result<Vec<ProgrammeRow>> {
    let sql = format!("{PROGRAMME} WHERE tenant = $1 ORDER BY code LIMIT 1000");
    tx.rows(&sql, values![scope.tenant.number()]).await?.iter().map(programme_row).collect()
}

/// A cycle by its code.
pub async fn cycle(tx: &mut Tx, programme: Id<Programme>, code: &str) -> Result<Option<Id<Cycle>>> {
    let sql = "SELECT number FROM cycle WHERE programme = $1 AND code = $2";
    let row = tx.row(sql, values![programme.number(), code]).await?;
    row.map(|row| row.int(0).map(Id::new)).transpose()
}

/// The first and last day of a cycle, by its number.
pub async fn cycle_code(tx: &mut Tx, cycle: Id<Cycle>) -> Result<String> {
    tx.one("SELECT code FROM cycle WHERE number = $1", values![cycle.number()]).await?.text(0)
}

/// Codes of cycles of the programme that share a day with `first_day..=last_day`. Locks the programme, so that
/// two cycles cannot be made past each other.
pub async fn overlapping(
    tx: &mut Tx,
    programme: Id<Programme>,
    first_day: &str,
    last_day: &str,
) -> Result<Vec<String>> {
    let lock = format!("SELECT number FROM programme WHERE number = $1{}", tx.for_update());
    tx.one(&lock, values![programme.number()]).await?;
    let sql = "SELECT code FROM cycle WHERE programme = $1 AND first_day <= $3 AND last_day >= $2 LIMIT 10";
    tx.rows(sql, values![programme.number(), first_day, last_day]).await?.iter().map(|row| row.text(0)).collect()
}

/// Makes a cycle.
pub async fn insert_cycle(
    tx: &mut Tx,
    id: Id<Cycle>,
    programme: Id<Programme>,
    period: (&str, &str, &str),
) -> Result<()> {
    let (code, first_day, last_day) = period;
    let sql = "INSERT INTO cycle (number, programme, code, first_day, last_day) VALUES ($1, $2, $3, $4, $5)";
    tx.execute(sql, values![id.number(), programme.number(), code, first_day, last_day]).await.map(|_| ())
}

/// Places a hold on a beneficiary; a second one changes nothing.
pub async fn hold(tx: &mut Tx, programme: Id<Programme>, hash: &[u8], reason: &str, by: (&str, i64)) -> Result<()> {
    let sql = "INSERT INTO beneficiary_hold (programme, beneficiary_hash, reason, placed_by, placed_at) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    tx.execute(sql, values![programme.number(), hash, reason, by.0, by.1]).await.map(|_| ())
}

/// Hashes of the beneficiaries on hold in a programme.
pub async fn holds(tx: &mut Tx, programme: Id<Programme>) -> Result<Vec<[u8; 16]>> {
    let sql = "SELECT beneficiary_hash FROM beneficiary_hold WHERE programme = $1";
    let rows = tx.rows(sql, values![programme.number()]).await?;
    rows.iter().map(|row| Ok(row.bytes(0)?.try_into()?)).collect()
}

/// A token as stored. The secret itself is not.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Its number.
    pub id: Id<Token>,
    /// Whose rows it opens.
    pub tenant: Id<Tenant>,
    /// Who holds it.
    pub person: String,
    /// What its holder may do.
    pub role: String,
}

/// Stores a token by the hash of its secret.
pub async fn insert_token(tx: &mut Tx, token: &TokenRow, hash: &[u8], now: i64) -> Result<()> {
    let sql = "INSERT INTO token (number, tenant, person, role, hash, created_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let bound = values![token.id.number(), token.tenant.number(), &token.person, &token.role, hash, now];
    tx.execute(sql, bound).await.map(|_| ())
}

/// The live token with this hash.
pub async fn token(tx: &mut Tx, hash: &[u8]) -> Result<Option<TokenRow>> {
    let sql = "SELECT number, tenant, person, role FROM token WHERE hash = $1 AND revoked_at IS NULL";
    let row = tx.row(sql, values![hash]).await?;
    row.map(|row| {
        let (id, tenant) = (Id::new(row.int(0)?), Id::new(row.int(1)?));
        Ok(TokenRow { id, tenant, person: row.text(2)?, role: row.text(3)? })
    })
    .transpose()
}

/// Ends a token; false when there is no such live token.
pub async fn revoke_token(tx: &mut Tx, scope: &Scope, id: Id<Token>, now: i64) -> Result<bool> {
    let sql = "UPDATE token SET revoked_at = $1 WHERE number = $2 AND tenant = $3 AND revoked_at IS NULL";
    Ok(tx.execute(sql, values![now, id.number(), scope.tenant.number()]).await? == 1)
}
