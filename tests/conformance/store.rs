//! The store behaves alike on both databases: what goes in comes out, what fails leaves nothing, and no number is
//! given twice; in `books`, the same of our own tables. Deliberately not here: what the engine makes of it.

mod books;

use paymaster::domain::id::COUNTER_BITS;
use paymaster::store::Store;
use paymaster::store::db::{self, Table, Value, Values};
use paymaster::store::load::{Column, Load};
use paymaster::values;

use crate::on_both;
use crate::world::{Database, Folder, database};

/// An instant, in microseconds.
const NOW: i64 = 1_795_593_600_000_000;
/// Texts that databases have stumbled over.
const TEXTS: [&str; 7] = [
    "",
    " ",
    "'; DROP TABLE probe; --",
    "\\N\t\n\r\u{1f}",
    "Añez e\u{301}",
    "\u{1f9d1}\u{1f3fe}\u{200d}\u{1f33e}",
    "NULL",
];
const INTS: [i64; 6] = [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1];

struct Open {
    store: Store,
    url: String,
    _folder: Folder,
}

impl Open {
    async fn new(kind: Database) -> Self {
        let folder = Folder::new();
        let url = database(kind, &folder).await;
        Self { store: Store::open(&url, true).await.unwrap(), url, _folder: folder }
    }

    /// With a table for values of each kind.
    async fn with_probe(kind: Database) -> Self {
        let open = Self::new(kind).await;
        let sql = "CREATE TABLE probe (id BIGINT PRIMARY KEY, number BIGINT, text TEXT, bytes BYTEA, small SMALLINT, \
                   middle INTEGER)";
        open.execute(sql, &[]).await.unwrap();
        open
    }

    async fn execute(&self, sql: &str, values: &[Value<'_>]) -> anyhow::Result<u64> {
        let mut tx = self.store.begin().await?;
        let changed = tx.execute(sql, values).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// A number that a query gives.
    async fn int(&self, sql: &str) -> i64 {
        let mut tx = self.store.read().await.unwrap();
        tx.one(sql, &[]).await.unwrap().int(0).unwrap()
    }

    /// The tables say no, and not because something is there already.
    async fn forbids(&self, sql: &str, values: &[Value<'_>]) {
        let outcome = self.execute(sql, values).await;
        let Err(error) = outcome else { panic!("not refused: {sql}") };
        assert!(!db::is_conflict(&error) && !db::is_deadlock(&error), "{sql}: {error}");
    }
}

on_both! {
    async fn values_of_each_kind_survive(database) {
        let open = Open::with_probe(database).await;
        let bytes: [&[u8]; 5] = [b"", b"\0", b"a\0b\0", &[0xff; 3], &(0..=255).collect::<Vec<u8>>()];
        let insert = "INSERT INTO probe (id, number, text, bytes) VALUES ($1, $2, $3, $4)";
        let mut tx = open.store.begin().await.unwrap();
        for n in 0..7_usize {
            let bound = values![n as i64, INTS[n % 6], TEXTS[n], bytes[n % 5]];
            assert_eq!(tx.execute(insert, bound).await.unwrap(), 1);
            let bound = values![10 + n as i64, Some(INTS[n % 6]), Some(TEXTS[n]), Some(bytes[n % 5])];
            assert_eq!(tx.execute(insert, bound).await.unwrap(), 1);
        }
        tx.execute(insert, values![20, None::<i64>, None::<&str>, None::<&[u8]>]).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = open.store.read().await.unwrap();
        let rows = tx.rows("SELECT number, text, bytes FROM probe ORDER BY id", &[]).await.unwrap();
        assert_eq!(rows.len(), 15);
        for (at, row) in rows[..14].iter().enumerate() {
            let n = at % 7;
            assert_eq!((row.int(0).unwrap(), row.text(1).unwrap().as_str(), row.bytes(2).unwrap()), (INTS[n % 6], TEXTS[n], bytes[n % 5]));
        }
        let nothing = &rows[14];
        assert_eq!((nothing.maybe_int(0).unwrap(), nothing.maybe_text(1).unwrap(), nothing.maybe_bytes(2).unwrap()), (None, None, None));
        assert!(nothing.int(0).is_err() && nothing.text(1).is_err() && nothing.bytes(2).is_err());
        assert!(tx.row("SELECT id FROM probe WHERE id = $1", values![99]).await.unwrap().is_none());
        assert!(tx.one("SELECT id FROM probe WHERE id = $1", values![99]).await.is_err());
    }
}

on_both! {
    async fn what_is_not_committed_leaves_nothing(database) {
        let open = Open::with_probe(database).await;
        let mut tx = open.store.begin().await.unwrap();
        tx.execute("INSERT INTO probe (id) VALUES ($1)", values![1]).await.unwrap();
        tx.load(&Load { table: "probe", columns: vec![("id", Column::Int(vec![2, 3]))] }).await.unwrap();
        assert_eq!(tx.one("SELECT COUNT(*) FROM probe", &[]).await.unwrap().int(0).unwrap(), 3);
        assert_eq!(open.int("SELECT COUNT(*) FROM probe").await, 0, "others do not see it");
        drop(tx);
        assert_eq!(open.int("SELECT COUNT(*) FROM probe").await, 0);
        // A reader sees one moment, and cannot write.
        let mut reader = open.store.read().await.unwrap();
        assert_eq!(reader.one("SELECT COUNT(*) FROM probe", &[]).await.unwrap().int(0).unwrap(), 0);
        open.execute("INSERT INTO probe (id) VALUES ($1)", values![1]).await.unwrap();
        assert_eq!(reader.one("SELECT COUNT(*) FROM probe", &[]).await.unwrap().int(0).unwrap(), 0);
        assert!(reader.execute("DELETE FROM probe", &[]).await.is_err());
        drop(reader);
        assert_eq!(open.int("SELECT COUNT(*) FROM probe").await, 1);
    }
}

/// `count` rows of the probe from `first`, with every kind of column.
fn probes(first: i64, count: i64) -> Load {
    let numbers = || first..first + count;
    let at = |n: i64, most: usize| usize::try_from(n).unwrap() % most;
    let bytes: Vec<Vec<u8>> = numbers().map(|n| vec![0; at(n, 5)]).collect();
    Load {
        table: "probe",
        columns: vec![
            ("id", Column::Int(numbers().collect())),
            ("number", Column::MaybeInt(numbers().map(|n| (n % 3 > 0).then(|| INTS[at(n, 6)])).collect())),
            ("text", Column::MaybeText(numbers().map(|n| (n % 4 > 0).then(|| TEXTS[at(n, 7)].to_owned())).collect())),
            ("bytes", Column::bytes(bytes.iter().map(Vec::as_slice))),
            ("small", Column::Small(numbers().map(|n| if n % 2 == 0 { i16::MIN } else { i16::MAX }).collect())),
            ("middle", Column::Middle(numbers().map(|n| if n % 2 == 0 { i32::MIN } else { i32::MAX }).collect())),
        ],
    }
}

on_both! {
    async fn loads_of_any_size_survive(database) {
        let open = Open::with_probe(database).await;
        let mut tx = open.store.begin().await.unwrap();
        for (first, count) in [(0, 0), (0, 1), (1, 1_000)] {
            tx.load(&probes(first, count)).await.unwrap();
        }
        // In pieces, with nothing in the first and one in the middle.
        tx.load_all([(1_001, 0), (1_001, 2), (1_003, 0), (1_003, 1_000)].map(|(first, count)| probes(first, count)).iter()).await.unwrap();
        tx.load_all(std::iter::empty::<Load>()).await.unwrap();
        tx.load(&Load { table: "probe", columns: vec![("id", Column::Int(vec![9_999])), ("text", Column::texts(["\u{1f33e}"].into_iter()))] }).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = open.store.read().await.unwrap();
        let rows = tx.rows("SELECT number, text, bytes, small, middle, id FROM probe ORDER BY id", &[]).await.unwrap();
        assert_eq!(rows.len(), 2_004);
        for (n, row) in rows[..2_003].iter().enumerate() {
            assert_eq!(row.int(5).unwrap(), n as i64);
            assert_eq!(row.maybe_int(0).unwrap(), (n % 3 > 0).then(|| INTS[n % 6]));
            assert_eq!(row.maybe_text(1).unwrap().as_deref(), (n % 4 > 0).then(|| TEXTS[n % 7]));
            assert_eq!(row.bytes(2).unwrap(), vec![0; n % 5]);
            let wanted = if n % 2 == 0 { (i64::from(i16::MIN), i64::from(i32::MIN)) } else { (i64::from(i16::MAX), i64::from(i32::MAX)) };
            assert_eq!((row.int(3).unwrap(), row.int(4).unwrap()), wanted);
        }
        assert_eq!(rows[2_003].text(1).unwrap(), "\u{1f33e}");
    }
}

on_both! {
    /// By a statement and in a load, at its beginning and its end: recognised, and nothing of it stays.
    async fn a_conflict_is_recognised_and_leaves_nothing(database) {
        let open = Open::with_probe(database).await;
        open.execute("INSERT INTO probe (id) VALUES ($1)", values![500]).await.unwrap();
        let error = open.execute("INSERT INTO probe (id) VALUES ($1)", values![500]).await.unwrap_err();
        assert!(db::is_conflict(&error) && db::is_conflict(&error.context("in other words")));
        for (first, count) in [(500, 1_000), (1, 500), (1, 20_000)] {
            let mut tx = open.store.begin().await.unwrap();
            tx.execute("UPDATE probe SET number = 1", &[]).await.unwrap();
            let error = tx.load(&probes(first, count)).await.unwrap_err();
            assert!(db::is_conflict(&error), "{error}");
            drop(tx);
            assert_eq!(open.int("SELECT COUNT(*) FROM probe WHERE number IS NULL").await, 1);
            assert_eq!(open.int("SELECT COUNT(*) FROM probe").await, 1);
        }
        // Columns that are not equally long are a mistake and no conflict; the connection stays of use.
        let uneven = Load { table: "probe", columns: vec![("id", Column::Int(vec![1, 2])), ("number", Column::Int(vec![1]))] };
        let mut tx = open.store.begin().await.unwrap();
        let error = tx.load_all([&probes(1, 10), &uneven].into_iter()).await.unwrap_err();
        assert!(!db::is_conflict(&error));
        drop(tx);
        for _ in 0..20 {
            assert_eq!(open.int("SELECT COUNT(*) FROM probe").await, 1);
        }
        open.execute("DELETE FROM probe", &[]).await.unwrap();
    }
}

on_both! {
    async fn a_table_of_values_changes_exactly_what_it_names(database) {
        let open = Open::with_probe(database).await;
        let keys: Vec<[u8; 16]> = (0..=255_u8).map(|n| [n; 16]).collect();
        let mut tx = open.store.begin().await.unwrap();
        let load = Load { table: "probe", columns: vec![("id", Column::Int((0..256).collect())), ("bytes", Column::bytes(keys.iter().map(<[u8; 16]>::as_slice)))] };
        tx.load(&load).await.unwrap();
        let sql = "UPDATE probe SET number = v.wanted + $1 FROM {v} WHERE probe.bytes = v.key AND probe.id <> $2";
        let (named, wanted) = ([keys[0], keys[10], keys[13], keys[255], keys[7], [9; 16]], [i64::MIN, i64::MAX, -1, 0, 5, 6]);
        let table = Table { names: &["key", "wanted"], columns: &[Values::Bytes(&named), Values::Ints(&wanted)] };
        assert_eq!(tx.execute_with(sql, values![0, 7], table).await.unwrap(), 5);
        let rows = tx.rows("SELECT id, number FROM probe WHERE number IS NOT NULL ORDER BY id", &[]).await.unwrap();
        let found: Vec<(i64, i64)> = rows.iter().map(|row| (row.int(0).unwrap(), row.int(1).unwrap())).collect();
        assert_eq!(found, [(0, i64::MIN), (9, 6), (10, i64::MAX), (13, -1), (255, 0)]);
        // Nothing named, nothing changed; and a table can be read from.
        let none = Table { names: &["key", "wanted"], columns: &[Values::Bytes(&[]), Values::Ints(&[])] };
        assert_eq!(tx.execute_with(sql, values![0, 7], none).await.unwrap(), 0);
        let many: Vec<i64> = (100..30_000).rev().collect();
        let ids = Table { names: &["id"], columns: &[Values::Ints(&many)] };
        let rows = tx.rows_with("SELECT p.id FROM {v} JOIN probe p ON p.id = v.id WHERE p.id > $1 ORDER BY p.id", values![199], ids).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.int(0).unwrap()).collect::<Vec<_>>(), (200..256).collect::<Vec<_>>());
    }
}

on_both! {
    /// Several processes and tasks at once: what they get never overlaps, and ascends for each of them.
    async fn numbers_are_given_once(database) {
        let open = Open::new(database).await;
        let other = Store::open(&open.url, false).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8_i64 {
            let store = if task % 2 == 0 { open.store.clone() } else { other.clone() };
            tasks.spawn(async move {
                let mut given: Vec<(i64, i64)> = Vec::new();
                for turn in 0..25_i64 {
                    let count = 1 + (task * 7 + turn) % 50;
                    // The clock of one of them runs back; its numbers do not.
                    let now = if task == 3 { NOW - turn * 1_000_000 } else { NOW };
                    given.push((store.allot(count, now).await.unwrap(), count));
                }
                assert!(given.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0), "{given:?}");
                given
            });
        }
        let mut given = tasks.join_all().await.concat();
        given.sort_unstable();
        assert!(given.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0), "two got the same");
        assert!(given[0].0 >= (NOW / 1_000 - 25_000) << COUNTER_BITS);
        let later = open.store.allot(1, NOW + 10_000_000).await.unwrap();
        assert_eq!(later, (NOW / 1_000 + 10_000) << COUNTER_BITS, "numbers tell the time");
    }
}

on_both! {
    /// What is drawn one by one is not given again after a restart, nor beside another process.
    async fn numbers_are_not_given_again_after_a_restart(database) {
        let open = Open::new(database).await;
        let mut given = Vec::new();
        for restart in 0..3 {
            let (one, other) = (Store::open(&open.url, restart == 0).await.unwrap(), Store::open(&open.url, false).await.unwrap());
            assert_eq!((one.tag, one.keys.hash("x")), (open.store.tag, open.store.keys.hash("x")), "the installation stays itself");
            for count in [1, 3, 400, 700, 1, 2_000] {
                for store in [&one, &other, &open.store] {
                    let mut numbers = store.draw(count, NOW).await.unwrap();
                    given.extend((0..count).map(|_| numbers.take().unwrap()));
                    assert!(numbers.take().is_err(), "no more than was drawn");
                }
            }
            one.db.close().await;
            other.db.close().await;
        }
        let all = given.len();
        given.sort_unstable();
        given.dedup();
        assert_eq!(given.len(), all);
    }
}
