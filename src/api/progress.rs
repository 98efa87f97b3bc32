//! How far a payroll is, as the API shows it: every row of the file is in exactly one of these sums.

use paymaster_connectors::contract::Currency;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{Sum, at, at_if};
use crate::domain::id::{Id, Payroll};
use crate::engine::{PayrollStatus, ProviderStatus};
use crate::store::payroll::PayrollRow;
use crate::store::seal::hex;

/// A payroll and how far it is. Sums add up: file = refused + accepted; accepted = held + cancelled + the providers'
/// totals.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayrollView {
    /// Its id.
    #[schema(value_type = String, example = "prl_006RBCDC1JBZJ")]
    id: Id<Payroll>,
    /// Where it stands: receiving, refused, draft, submitted, approved, released, completed, reconciled or void.
    state: &'static str,
    /// `payment`, or `reissue`: it pays again what was rejected, came back or was cancelled.
    kind: &'static str,
    /// Code of its programme.
    programme: String,
    /// Code of its cycle.
    cycle: String,
    /// ISO 4217 code.
    currency: &'static str,
    /// The day it is to be paid.
    pay_on: Option<String>,
    /// Who handed it in.
    made_by: String,
    /// Who submitted it.
    submitted_by: Option<String>,
    /// When it came.
    created_at: String,
    /// When it was released.
    released_at: Option<String>,
    /// When its last payment ended.
    completed_at: Option<String>,
    /// Since when new sends are stopped.
    paused_at: Option<String>,
    /// SHA-256 of the file.
    file_sha256: String,
    /// SHA-256 of what would be paid; an approval binds it.
    content_sha256: Option<String>,
    /// Why it was refused as a whole.
    refusal: Option<Refusal>,
    /// What the maker declared.
    declared: Sum,
    /// What the file held.
    file: Sum,
    /// What was not taken in.
    refused: Sum,
    /// The same by code.
    refused_by_code: Vec<CodeSum>,
    /// What was taken in.
    accepted: Sum,
    /// Taken in and stopped by a hold.
    held: Sum,
    /// Taken in and withdrawn before it left.
    cancelled: Sum,
    /// How far it is with each provider.
    providers: Vec<ProviderView>,
    /// Rejections and returns by reason.
    rejections: Vec<RejectionSum>,
    /// Messages to the registry.
    publications: Vec<PublicationCount>,
}

/// Why a whole payroll was refused.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusal {
    /// Stable, snake case.
    #[schema(example = "totals_differ")]
    pub code: String,
    /// What to do about it.
    pub text: String,
}

/// Refused rows of one code.
#[derive(Debug, Serialize, ToSchema)]
pub struct CodeSum {
    /// Why.
    #[schema(example = "amount_empty")]
    code: String,
    /// How many, and what could be read of their amounts.
    total: Sum,
}

/// How far a payroll is with one provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    /// The provider.
    provider: String,
    /// How many batches.
    batches: i64,
    /// Everything for it; the sum of the six below.
    total: Sum,
    /// Not sent yet.
    waiting: Sum,
    /// Sent, and no end yet.
    in_flight: Sum,
    /// Nobody knows; being asked about.
    in_doubt: Sum,
    /// Arrived.
    settled: Sum,
    /// Proven not paid.
    rejected: Sum,
    /// Came back.
    returned: Sum,
}

/// Rejections and returns of one reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectionSum {
    /// The provider.
    provider: String,
    /// Who has to act.
    #[schema(example = "fix_data")]
    class: String,
    /// The provider's reason.
    code: String,
    /// How many.
    total: Sum,
}

/// Messages to the registry in one state.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicationCount {
    /// `open`, `acknowledged` or `dead`.
    state: String,
    /// How many messages.
    messages: i64,
    /// How many ends they tell of.
    items: i64,
}

/// Why a payroll was refused, read back from how it is stored.
pub(super) fn refusal(row: &PayrollRow) -> Option<Refusal> {
    let (code, text) = row.refusal.as_deref()?.split_once(": ")?;
    Some(Refusal { code: code.to_owned(), text: text.to_owned() })
}

impl From<PayrollStatus> for PayrollView {
    fn from(status: PayrollStatus) -> Self {
        let row = status.payroll;
        let sum = |total| Sum::new(total, row.currency);
        let refused = status.refused_by_code.into_iter().map(|(code, total)| CodeSum { code, total: sum(total) });
        let rejections = status.rejected_by_code.into_iter().map(|(provider, class, code, total)| RejectionSum {
            provider,
            class,
            code,
            total: sum(total),
        });
        let publications = status.publications.into_iter();
        Self {
            id: row.id,
            state: row.state.name(),
            kind: row.kind.name(),
            programme: status.programme,
            cycle: status.cycle,
            currency: row.currency.code(),
            created_at: at(row.created_at),
            released_at: at_if(row.released_at),
            completed_at: at_if(row.completed_at),
            paused_at: at_if(row.paused_at),
            file_sha256: hex(&row.file_hash),
            content_sha256: row.content_hash.as_deref().map(hex),
            refusal: refusal(&row),
            declared: sum(row.declared),
            file: sum(row.file),
            refused: sum(row.refused),
            refused_by_code: refused.collect(),
            accepted: sum(row.accepted),
            held: sum(status.held),
            cancelled: sum(row.cancelled),
            providers: status.providers.into_iter().map(|one| ProviderView::new(one, row.currency)).collect(),
            rejections: rejections.collect(),
            publications: publications
                .map(|(state, messages, items)| PublicationCount { state, messages, items })
                .collect(),
            pay_on: row.pay_on,
            made_by: row.made_by,
            submitted_by: row.submitted_by,
        }
    }
}

impl ProviderView {
    fn new(status: ProviderStatus, currency: Currency) -> Self {
        let sum = |total| Sum::new(total, currency);
        Self {
            provider: status.provider,
            batches: status.batches,
            total: sum(status.total),
            waiting: sum(status.waiting),
            in_flight: sum(status.in_flight),
            in_doubt: sum(status.in_doubt),
            settled: sum(status.settled),
            rejected: sum(status.rejected),
            returned: sum(status.returned),
        }
    }
}
