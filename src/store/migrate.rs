//! Brings the tables up to date: one text for both engines, run by sqlx's migrator with its own history table.

use anyhow::{Context, Result};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::db::Db;
use crate::values;

/// The texts in order. Never change one that has been released; add another.
const TEXTS: [(i64, &str, &str); 4] = [
    (1, "house", include_str!("../../migrations/0001_house.sql")),
    (2, "pace", include_str!("../../migrations/0002_pace.sql")),
    (3, "exceptions", include_str!("../../migrations/0003_exceptions.sql")),
    (4, "banks", include_str!("../../migrations/0004_banks.sql")),
];

/// Runs what has not been run. Safe to call from many processes at once.
pub async fn run(db: &Db) -> Result<()> {
    let words = match db {
        Db::Sqlite { .. } => [("{{NUMBER_KEY}}", "INTEGER PRIMARY KEY"), ("{{HOT}}", ""), ("{{COMPRESSED}}", "")],
        Db::Postgres(_) => [
            ("{{NUMBER_KEY}}", "BIGINT PRIMARY KEY"),
            ("{{HOT}}", "WITH (fillfactor = 45)"),
            ("{{COMPRESSED}}", "ALTER TABLE evidence ALTER COLUMN sealed SET STORAGE EXTERNAL;"),
        ],
    };
    let migrations = TEXTS.iter().map(|(version, name, text)| {
        let sql = words.iter().fold((*text).to_owned(), |sql, (word, meaning)| sql.replace(word, meaning));
        Migration::new(*version, (*name).into(), MigrationType::Simple, AssertSqlSafe(sql).into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name("paymaster_migration");
    match db {
        Db::Sqlite { writer, .. } => migrator.run(writer).await,
        Db::Postgres(pool) => migrator.run(pool).await,
    }
    .context("the tables cannot be brought up to date")?;
    install(db).await?;
    crate::jobs::migrate(db).await
}

/// Makes the installation's one row: a random tag for references and a random key for look-up hashes.
async fn install(db: &Db) -> Result<()> {
    let random = crate::clock::random::<34>()?;
    let tag = i64::from(u16::from_be_bytes([random[0], random[1]]) & 0x7fff);
    let sql =
        "INSERT INTO installation (one, tag, index_key, next_number) VALUES (1, $1, $2, 0) ON CONFLICT DO NOTHING";
    let mut tx = db.begin().await?;
    tx.execute(sql, values![tag, &random[2..]]).await?;
    tx.commit().await
}
