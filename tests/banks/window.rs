//! Cut-offs and banking days: a batch that comes too late waits for the next window, and says so.

use paymaster::domain::disbursement::State;
use serde_json::json;

use super::stage::{Stage, plain};
use crate::on_both;

on_both! {
    async fn past_the_cut_off_a_batch_waits_for_the_next_banking_day(database) {
        // It is Wednesday, 11:00 in Nairobi; Thursday is a holiday there.
        let calendar = json!({"calendar": {
            "zone": "Africa/Nairobi", "opens": "08:00:00", "cut_off": "10:30:00", "holidays": ["2026-11-26"],
        }});
        let stage = Stage::with(database, |_| {}, calendar).await;
        let payroll = stage.released(&plain(2)).await;
        stage.send().await;
        assert_eq!(stage.count(payroll.id, State::Queued).await, 2);
        assert!(stage.names("in").is_empty());
        let scope = &stage.world.maker.scope;
        let batch = stage.engine().batches(scope, payroll.id, 0, 10).await.unwrap().remove(0);
        // Friday 08:00 in Nairobi.
        assert_eq!(batch.due_at, Some(1_795_593_600_000_000 + (45 * 3600) * 1_000_000));
        let mut tx = stage.engine().store.read().await.unwrap();
        let facts = paymaster::store::notes::facts(&mut tx, scope, batch.id.number(), 100).await.unwrap();
        drop(tx);
        assert!(facts.iter().any(|fact| fact.event == "batch.waits"), "{facts:?}");
        stage.world.pass_seconds(45 * 3600);
        stage.send().await;
        assert_eq!(stage.count(payroll.id, State::Accepted).await, 2);
        let name = stage.names("in").remove(0);
        let file = std::fs::read_to_string(stage.root.join("in").join(name)).unwrap();
        assert!(file.contains("<ReqdExctnDt><Dt>2026-11-27</Dt></ReqdExctnDt>"), "{file}");
    }
}
