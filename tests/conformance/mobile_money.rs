//! Mobile money against the sandbox's operator, in both of its modes.

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use paymaster_connectors::contract::{Batch, Money};
use paymaster_connectors::sandbox::{self, Faults, PAYEE_UNKNOWN_SUFFIX, Sandbox};
use serde_json::{Value, json};

use super::connector::{CANARY, Counterpart, Payee, Rig, Setup, Subject, Trouble};

/// Whole batches.
pub const BATCH: Subject = Subject { name: "mobile_money batch", open: |setup| open("batch", setup), forgeries };
/// One call for each payment.
pub const SINGLE: Subject = Subject { name: "mobile_money single", open: |setup| open("single", setup), forgeries };

/// Items of a page: fewer than a full batch has, so that lists have several.
const PAGE_ITEMS: u64 = 300;
/// The operator's version prefix.
const PREFIX: &str = "/mm/v1.2";

fn open(mode: &'static str, setup: Setup) -> BoxFuture<'static, Rig> {
    async move {
        let settings = sandbox::Settings {
            float: Money::new(i64::MAX, setup.currency),
            api_key: Some(CANARY.to_owned()),
            delay_millis: 1,
            faults: faults(Trouble::None),
            ..sandbox::Settings::new(setup.currency)
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let base = setup.address.map_or_else(|| sandbox.operator_url(), |address| format!("http://{address}{PREFIX}"));
        let settings = json!({
            "base_url": base,
            "mode": mode,
            "debit_party": {"key": "organisationid", "value": "ministry"},
            "client_id": CANARY,
            "api_key": setup.credential,
            "user_credential": CANARY,
            "items_max": setup.items_max,
            "page_items": PAGE_ITEMS,
            "callback_trust": if setup.callbacks_believed { "secret_url" } else { "hint" },
        });
        let connector = paymaster_connectors::open("mobile_money", "operator", settings).unwrap();
        let counterpart = Box::new(Operator { sandbox, currency: setup.currency });
        Rig { counterpart, connector }
    }
    .boxed()
}

fn faults(trouble: Trouble) -> Faults {
    let none = Faults { payee_suffixes: true, ..Faults::none() };
    match trouble {
        Trouble::None => none,
        Trouble::LostReply => Faults { lose_reply_per_mille: 1_000, ..none },
        Trouble::LostRequest => Faults { lose_request_per_mille: 1_000, ..none },
        Trouble::ForeignStatus => Faults { foreign_status: true, ..none },
    }
}

/// The sandbox's operator, as the suite sees it.
struct Operator {
    sandbox: Sandbox,
    currency: paymaster_connectors::contract::Currency,
}

#[async_trait]
impl Counterpart for Operator {
    fn suffer(&self, trouble: Trouble) {
        self.sandbox.set_faults(faults(trouble));
    }

    async fn quiet(&self) {
        self.sandbox.quiet().await;
    }

    fn credits(&self) -> Vec<(String, Money)> {
        let money = |minor| Money::new(minor, self.currency);
        let credits = self.sandbox.ledger();
        credits.iter().map(|credit| (credit.reference.to_string(), money(credit.amount_minor))).collect()
    }

    fn writes(&self) -> u64 {
        self.sandbox.calls().writes
    }

    fn payee(&self, kind: Payee, n: usize) -> String {
        match kind {
            Payee::Good => format!("mobile:+2547{n:08}@operator"),
            Payee::Refused => format!("mobile:+254{n:03}{PAYEE_UNKNOWN_SUFFIX}@operator"),
        }
    }
}

fn forgeries(batch: &Batch) -> Vec<Vec<u8>> {
    let mut bodies = vec![
        json!({"batchId": "B-nobody-knows", "batchStatus": "completed", "completedCount": 3, "rejectionCount": 0}),
        json!({"serverCorrelationId": "x", "objectReference": "B-nobody-knows", "status": "completed"}),
        json!({"errorCategory": "identification", "errorCode": "identifierError"}),
    ];
    let paid = |reference: &str, amount: Value| {
        json!({"transactionStatus": "completed", "transactionReference": "T1", "amount": amount,
            "currency": batch.currency.code(), "requestingOrganisationTransactionReference": reference})
    };
    for one in &batch.instructions {
        bodies.push(paid(one.reference.as_str(), json!(one.amount.normalised())));
        bodies.push(paid(one.reference.as_str(), Value::Null));
        bodies.push(paid(one.reference.as_str(), json!("much")));
        bodies.push(paid(one.reference.as_str(), json!(1e300)));
    }
    bodies.iter().map(|body| body.to_string().into_bytes()).collect()
}
