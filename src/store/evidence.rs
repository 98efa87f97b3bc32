//! What providers said and people decided: raw bytes, stored once, never changed.

use anyhow::Result;

use super::db::{Row, Tx};
use super::load::{Column, Load};
use super::seal::{self, Keys};
use super::{Scope, values};
use crate::domain::id::{Batch, Evidence, Id, Programme};

/// One piece of evidence to store.
#[derive(Debug)]
pub struct NewEvidence<'a> {
    /// Its number.
    pub id: Id<Evidence>,
    /// `message`, `decision`, `rule` or `wire`.
    pub kind: &'static str,
    /// By which door it came.
    pub source: &'static str,
    /// What was asked, or who decided.
    pub origin: &'a str,
    /// The bytes as they came.
    pub bytes: &'a [u8],
}

/// Stores evidence about a batch in one go.
pub async fn insert(
    tx: &mut Tx,
    keys: &Keys,
    about: (Id<Programme>, Id<Batch>),
    all: &[NewEvidence<'_>],
    now: i64,
) -> Result<()> {
    let hashes: Vec<[u8; 32]> = all.iter().map(|one| seal::sha256(one.bytes)).collect();
    let sealed: Vec<Vec<u8>> = all.iter().map(|one| keys.seal(one.bytes)).collect();
    let load = Load {
        table: "evidence",
        columns: vec![
            ("number", Column::Int(all.iter().map(|one| one.id.number()).collect())),
            ("programme", Column::Int(vec![about.0.number(); all.len()])),
            ("kind", Column::texts(all.iter().map(|one| one.kind))),
            ("source", Column::texts(all.iter().map(|one| one.source))),
            ("origin", Column::texts(all.iter().map(|one| one.origin))),
            ("batch", Column::Int(vec![about.1.number(); all.len()])),
            ("sha256", Column::bytes(hashes.iter().map(<[u8; 32]>::as_slice))),
            ("sealed", Column::bytes(sealed.iter().map(Vec::as_slice))),
            ("at", Column::Int(vec![now; all.len()])),
        ],
    };
    tx.load(&load).await
}

/// Evidence as it is shown.
#[derive(Debug, Clone)]
pub struct EvidenceRow {
    /// Its number.
    pub id: Id<Evidence>,
    /// `message`, `decision`, `rule` or `wire`.
    pub kind: String,
    /// By which door it came.
    pub source: String,
    /// What was asked, or who decided.
    pub origin: String,
    /// SHA-256 of the bytes.
    pub sha256: Vec<u8>,
    /// When it came.
    pub at: i64,
}

fn evidence_row(row: &Row) -> Result<EvidenceRow> {
    Ok(EvidenceRow {
        id: Id::new(row.int(0)?),
        kind: row.text(1)?,
        source: row.text(2)?,
        origin: row.text(3)?,
        sha256: row.bytes(4)?.to_vec(),
        at: row.int(5)?,
    })
}

/// Evidence about a batch, oldest first.
pub async fn of_batch(tx: &mut Tx, batch: Id<Batch>, limit: i64) -> Result<Vec<EvidenceRow>> {
    let sql =
        "SELECT number, kind, source, origin, sha256, at FROM evidence WHERE batch = $1 ORDER BY at, number LIMIT $2";
    tx.rows(sql, values![batch.number(), limit]).await?.iter().map(evidence_row).collect()
}

/// The bytes of one piece of evidence of the tenant, with what it is.
pub async fn get(tx: &mut Tx, keys: &Keys, scope: &Scope, id: Id<Evidence>) -> Result<Option<(EvidenceRow, Vec<u8>)>> {
    let sql = "SELECT e.number, e.kind, e.source, e.origin, e.sha256, e.at, e.sealed FROM evidence e \
               JOIN programme p ON p.number = e.programme WHERE e.number = $1 AND p.tenant = $2";
    let row = tx.row(sql, values![id.number(), scope.tenant.number()]).await?;
    row.map(|row| Ok((evidence_row(&row)?, keys.open(row.bytes(6)?)?))).transpose()
}

/// The stored bytes of one piece of evidence, for the engine's own use.
pub async fn bytes(tx: &mut Tx, keys: &Keys, number: i64) -> Result<Vec<u8>> {
    keys.open(tx.one("SELECT sealed FROM evidence WHERE number = $1", values![number]).await?.bytes(0)?)
}
