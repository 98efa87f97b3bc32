//! The demo's last page: totals at each stage, three books compared, and what to try next.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Result;
use paymaster_connectors::contract::{Currency, Money};
use paymaster_connectors::sandbox::Net;
use serde_json::json;

use super::Stage;
use crate::cli::books::{self, Compared};
use crate::cli::payroll::write_rejects;
use crate::cli::reconcile;
use crate::cli::said;
use crate::domain::id::{Id, Payroll};
use crate::engine::{PayrollStatus, ProviderStatus, Reconciliation, Verification};
use crate::store::payroll::Total;

/// What the run came to.
struct Ended {
    status: PayrollStatus,
    all: ProviderStatus,
    compared: Compared,
    verification: Verification,
    reconciliation: Reconciliation,
    took: Duration,
}

/// Prints the reconciliation; true when all books agree to the last minor unit.
pub async fn print(
    stage: &Stage,
    (id, paid_by_bank): (Id<Payroll>, &HashMap<String, Net>),
    took: Duration,
) -> Result<bool> {
    let status = said(stage.engine.payroll_status(&stage.maker.scope, id).await)?;
    let found = Ended {
        all: added(&status),
        compared: books::compare(&stage.engine, &stage.maker, id, (&stage.sandbox, paid_by_bank)).await?,
        reconciliation: said(stage.engine.reconciliation(&stage.maker.scope, id).await)?,
        verification: stage.engine.verify().await?,
        status,
        took,
    };
    let rejects = stage.folder.join("rejects.csv");
    write_rejects(&stage.engine, &stage.maker, id, &mut std::fs::File::create(&rejects)?).await?;
    let lines = found.lines(stage);
    std::fs::write(stage.folder.join("report.txt"), lines.join("\n") + "\n")?;
    for line in &lines {
        stage.screen.line(line);
    }
    let object = found.object(stage.engine.store.db.name());
    std::fs::write(stage.folder.join("report.json"), object.to_string())?;
    if stage.screen.json {
        stage.screen.object(&object);
    }
    Ok(found.agrees())
}

fn added(status: &PayrollStatus) -> ProviderStatus {
    let plus = |a: Total, b: Total| a.and(b).unwrap_or(a);
    status.providers.iter().fold(ProviderStatus::default(), |all, one| ProviderStatus {
        provider: String::new(),
        batches: all.batches + one.batches,
        total: plus(all.total, one.total),
        waiting: plus(all.waiting, one.waiting),
        in_flight: plus(all.in_flight, one.in_flight),
        in_doubt: plus(all.in_doubt, one.in_doubt),
        settled: plus(all.settled, one.settled),
        rejected: plus(all.rejected, one.rejected),
        returned: plus(all.returned, one.returned),
    })
}

impl Ended {
    fn provider_agrees(&self) -> bool {
        let compared = &self.compared;
        compared.paid_twice == 0
            && compared.provider_differs == 0
            && compared.provider_unknown == 0
            && compared.provider_sum_minor == self.all.settled.sum_minor
    }

    fn registry_agrees(&self) -> bool {
        self.compared.registry_differs == 0 && self.compared.registry_sum_minor == self.all.settled.sum_minor
    }

    fn stages_agree(&self) -> bool {
        let payroll = &self.status.payroll;
        let open = self
            .all
            .waiting
            .and(self.all.in_flight)
            .and_then(|open| open.and(self.all.in_doubt))
            .and_then(|open| open.and(self.status.held));
        let ends = self.all.settled.and(self.all.rejected).and_then(|ends| ends.and(self.all.returned));
        payroll.accepted.and(payroll.refused) == Some(payroll.file)
            && open.zip(ends).and_then(|(open, ends)| open.and(ends)) == Some(payroll.accepted)
    }

    fn agrees(&self) -> bool {
        self.provider_agrees()
            && self.registry_agrees()
            && self.stages_agree()
            && self.compared.forgotten == 0
            && self.reconciliation.is_even()
            && self.verification.findings.is_empty()
    }

    fn payments_per_second(&self) -> u128 {
        u128::from(self.all.total.payments.unsigned_abs()) * 1_000 / self.took.as_millis().max(1)
    }

    fn lines(&self, stage: &Stage) -> Vec<String> {
        let payroll = &self.status.payroll;
        let money = |minor| Money::new(minor, payroll.currency).to_string();
        let mut lines = vec![String::new(), String::from("Reconciliation")];
        lines.extend(super::super::payroll::describe(&self.status).lines().map(str::to_owned));
        lines.push(String::new());
        lines.extend(reconcile::describe(&stage.engine, &self.reconciliation).lines().map(str::to_owned));
        lines.push(String::new());
        let says = |yes: bool| if yes { "agrees" } else { "DOES NOT AGREE" };
        lines.push(format!(
            "  file = accepted + refused, accepted = settled + rejected + returned + open: {}",
            says(self.stages_agree())
        ));
        lines.push(format!("  our books                {:>24} settled", money(self.all.settled.sum_minor)));
        lines.push(format!(
            "  the provider's ledger    {:>24} credited: {}",
            money(self.compared.provider_sum_minor),
            says(self.provider_agrees())
        ));
        lines.push(format!(
            "  the registry was told    {:>24} settled: {}",
            money(self.compared.registry_sum_minor),
            says(self.registry_agrees())
        ));
        lines.push(format!("  verify: {}", books::describe(&self.verification)));
        lines.extend(self.verification.findings.iter().map(|one| format!("    {}: {}", one.rule, one.text)));
        lines.push(format!(
            "  paid twice {}, forgotten {}, in doubt {}",
            self.compared.paid_twice, self.compared.forgotten, self.all.in_doubt.payments
        ));
        let seconds = format!("{}.{:03}", self.took.as_secs(), self.took.subsec_millis());
        let database = stage.engine.store.db.name();
        lines.push(format!("  {seconds} seconds on {database}, {} payments a second", self.payments_per_second()));
        lines.push(String::new());
        lines.push(format!(
            "The operator lost replies and requests on the way; its ledger is in {}",
            stage.folder.join(&stage.provider).display()
        ));
        if stage.bank.is_some() {
            lines.push(format!(
                "Files to the bank and from it, its statements among them, are in {}",
                stage.folder.join(&stage.bank_name).display()
            ));
        }
        lines.push(format!("Refused rows to mend and send again: {}", stage.folder.join("rejects.csv").display()));
        lines.push(String::from("Next: paymaster demo --rows 1000000; paymaster demo --database-url postgres://…; paymaster serve, and /docs in a browser"));
        lines
    }

    fn object(&self, database: &str) -> serde_json::Value {
        let payroll = &self.status.payroll;
        let currency: Currency = payroll.currency;
        let rejected: Vec<_> = self.status.rejected_by_code.iter()
            .map(|(provider, class, code, total)| json!({"provider": provider, "class": class, "code": code, "payments": total.payments, "sum_minor": total.sum_minor}))
            .collect();
        json!({
            "rows": payroll.file.payments,
            "accepted": payroll.accepted.payments,
            "refused": payroll.refused.payments,
            "settled": self.all.settled.payments,
            "rejected": self.all.rejected.payments,
            "returned": self.all.returned.payments,
            "held": self.status.held.payments,
            "in_doubt": self.all.in_doubt.payments,
            "open": self.all.waiting.payments + self.all.in_flight.payments + self.all.in_doubt.payments,
            "paid_twice": self.compared.paid_twice,
            "forgotten": self.compared.forgotten,
            "currency": currency.code(),
            "sum_file_minor": payroll.file.sum_minor,
            "sum_accepted_minor": payroll.accepted.sum_minor,
            "sum_refused_minor": payroll.refused.sum_minor,
            "sum_settled_minor": self.all.settled.sum_minor,
            "sum_rejected_minor": self.all.rejected.sum_minor,
            "provider_ledger_agrees": self.provider_agrees(),
            "registry_agrees": self.registry_agrees(),
            "ledger_balances": self.verification.findings.is_empty(),
            "stages_agree": self.stages_agree(),
            "payroll_state": self.reconciliation.payroll.state.name(),
            "reconciliation_differences": self.reconciliation.differences.iter()
                .map(|(name, sum)| json!({"name": name, "payments": sum.payments, "minor": sum.minor})).collect::<Vec<_>>(),
            "rejected_by_code": rejected,
            "seconds": self.took.as_secs_f64(),
            "payments_per_second": u64::try_from(self.payments_per_second()).unwrap_or(u64::MAX),
            "database": database,
        })
    }
}
