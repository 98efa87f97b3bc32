//! The last payment of a payroll has come to its end. Deliberately not here: what ended it.

use anyhow::Result;

use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::{PayrollMove, PayrollState};
use crate::engine::Engine;
use crate::store::db::Tx;
use crate::store::notes::{self, Fact};
use crate::store::payroll;
use crate::store::{Numbers, batch};

impl Engine {
    /// Completes a payroll if its last payment has come to its end.
    pub(in crate::engine) async fn complete_payroll(
        &self,
        tx: &mut Tx,
        id: Id<Payroll>,
        numbers: &mut Numbers,
    ) -> Result<()> {
        let now = self.clock.now();
        let row = payroll::lock(tx, id).await?;
        let Some(to) = row.state.step(PayrollMove::Complete) else { return Ok(()) };
        // Rows that are held are in no batch's count, and keep their payroll open.
        if batch::incomplete(tx, row.id).await? != (0, row.accepted.payments - row.cancelled.payments) {
            return Ok(());
        }
        debug_assert_eq!(to, PayrollState::Completed);
        payroll::set_state(tx, row.id, row.state, to).await?;
        payroll::set_completed_at(tx, row.id, now).await?;
        let fact = Fact {
            event: "payroll.completed",
            subject: row.id.number(),
            actor: "engine",
            total: row.accepted,
            ..Fact::default()
        };
        notes::journal(tx, numbers.take()?, row.tenant, &fact, now).await
    }
}
