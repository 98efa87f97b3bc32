//! A payroll's way from its maker to a checker: submit, approve, recall, void, pause.
//! Nobody approves or releases what they made, whatever token they come with.

use super::{Actor, Engine, Outcome, RefusedKind, no_payroll, refused};
use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::{PayrollMove, PayrollState};
use crate::store::db::Tx;
use crate::store::notes::{self, Fact};
use crate::store::payroll::{self, Approval, PayrollRow};

impl Engine {
    /// The maker hands a draft to a checker.
    pub async fn submit_payroll(&self, actor: &Actor, id: Id<Payroll>) -> Outcome<PayrollState> {
        self.move_payroll(actor, id, PayrollMove::Submit).await
    }

    /// A checker agrees with exactly this content.
    pub async fn approve_payroll(&self, actor: &Actor, id: Id<Payroll>) -> Outcome<PayrollState> {
        self.move_payroll(actor, id, PayrollMove::Approve).await
    }

    /// Back to the maker; an approval is void.
    pub async fn recall_payroll(&self, actor: &Actor, id: Id<Payroll>) -> Outcome<PayrollState> {
        self.move_payroll(actor, id, PayrollMove::Recall).await
    }

    async fn move_payroll(&self, actor: &Actor, id: Id<Payroll>, asked: PayrollMove) -> Outcome<PayrollState> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(2, now).await?;
        let mut tx = self.store.begin().await?;
        let row = owned(&mut tx, actor, id).await?;
        if asked == PayrollMove::Approve {
            not_own(actor, &row)?;
        }
        let to = step(&row, asked)?;
        payroll::set_state(&mut tx, id, row.state, to).await?;
        if asked == PayrollMove::Submit {
            payroll::set_submitted_by(&mut tx, id, &actor.person).await?;
        } else {
            let decision = if asked == PayrollMove::Approve { "approved" } else { "recalled" };
            let content_hash = row.content_hash.as_deref().unwrap_or_default();
            let one = Approval { number: numbers.take()?, person: &actor.person, decision, content_hash, at: now };
            payroll::insert_approval(&mut tx, id, &one).await?;
        }
        let event = match asked {
            PayrollMove::Submit => "payroll.submitted",
            PayrollMove::Approve => "payroll.approved",
            _ => "payroll.recalled",
        };
        let list_hash = row.content_hash.as_deref();
        let fact = Fact {
            event,
            subject: id.number(),
            actor: &actor.person,
            total: row.accepted,
            list_hash,
            ..Fact::default()
        };
        notes::journal(&mut tx, numbers.take()?, row.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(to)
    }

    /// Stops new sends of a released payroll, or lets them go on.
    pub async fn pause_payroll(&self, actor: &Actor, id: Id<Payroll>, paused: bool) -> Outcome<()> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let row = owned(&mut tx, actor, id).await?;
        payroll::set_paused_at(&mut tx, id, paused.then_some(now)).await?;
        let event = if paused { "payroll.paused" } else { "payroll.resumed" };
        let fact = Fact { event, subject: id.number(), actor: &actor.person, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, row.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// The payroll, locked, if it is the caller's tenant's.
pub(super) async fn owned(tx: &mut Tx, actor: &Actor, id: Id<Payroll>) -> Outcome<PayrollRow> {
    if payroll::get(tx, &actor.scope, id).await?.is_none() {
        return no_payroll(id);
    }
    Ok(payroll::lock(tx, id).await?)
}

/// Refuses the person who made or submitted it.
pub(super) fn not_own(actor: &Actor, row: &PayrollRow) -> Outcome<()> {
    let own = row.made_by == actor.person || row.submitted_by.as_deref() == Some(actor.person.as_str());
    if own {
        return refused(
            RefusedKind::Forbidden,
            "maker_is_checker",
            "somebody who did not make this payroll must do this",
        );
    }
    Ok(())
}

/// The state after a move, or a refusal that says where it stands.
pub(super) fn step(row: &PayrollRow, asked: PayrollMove) -> Outcome<PayrollState> {
    match row.state.step(asked) {
        Some(to) => Ok(to),
        None => refused(
            RefusedKind::Conflict,
            "payroll_state",
            format!("a {} payroll cannot be moved like this", row.state),
        ),
    }
}
