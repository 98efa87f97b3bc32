//! Connectors: one folder per provider protocol, behind one contract, and the one table that names them.
//!
//! The compiler enforces that a connector knows nothing of the service: this package does not depend on it.

pub mod bank;
pub mod contract;
pub mod delivery;
pub mod http;
pub mod iso20022;
#[cfg(test)]
mod kept;
pub mod mobile_money;
pub mod mt940;
pub mod reading;
pub mod registry;
pub mod sandbox;
pub mod secret;

use std::sync::Arc;

use contract::{Connector, Failure};
use serde_json::Value;

/// Opens one provider of a connector from its settings, secrets already resolved.
type Open = fn(name: &str, settings: Value) -> Result<Arc<dyn Connector>, OpenError>;

/// The one table: a new connector is one folder and one line.
const CONNECTORS: &[(&str, Open)] = &[
    ("bank", |name, settings| Ok(Arc::new(bank::open(name, serde_json::from_value(settings)?)?))),
    ("mobile_money", |name, settings| Ok(Arc::new(mobile_money::open(name, serde_json::from_value(settings)?)?))),
];

/// Why a provider could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The table has no such connector.
    #[error("there is no connector `{connector}`; the known ones are: {known}")]
    Unknown {
        /// What was asked for.
        connector: String,
        /// Every name in the table.
        known: String,
    },
    /// The settings are not what the connector reads.
    #[error("the settings cannot be read: {0}")]
    Settings(#[from] serde_json::Error),
    /// The settings can be read and contradict each other or themselves.
    #[error("the settings cannot be used: {0}")]
    Unusable(#[from] Failure),
}

/// Opens the provider `name`, which speaks the protocol `connector`.
pub fn open(connector: &str, name: &str, settings: Value) -> Result<Arc<dyn Connector>, OpenError> {
    let Some((_, open)) = CONNECTORS.iter().find(|(known, _)| *known == connector) else {
        let known = CONNECTORS.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
        return Err(OpenError::Unknown { connector: connector.to_owned(), known });
    };
    open(name, settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(connector: &str, settings: Value) -> String {
        open(connector, "p", settings).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_unknown_connector_is_answered_with_the_known_ones() {
        let text = refusal("carrier_pigeon", json!({}));
        assert!(text.contains("carrier_pigeon") && text.contains("mobile_money"), "{text}");
    }

    #[test]
    fn settings_with_a_misspelt_key_are_refused_by_name() {
        let party = json!({"key": "organisationid", "value": "1"});
        let good = json!({"base_url": "http://127.0.0.1:1/mm", "debit_party": party});
        assert!(open("mobile_money", "p", good.clone()).is_ok());
        let mut bad = good.clone();
        bad["time_out"] = json!(3);
        assert!(refusal("mobile_money", bad).contains("time_out"));
        let mut unusable = good;
        unusable["base_url"] = json!("ftp://x");
        assert!(refusal("mobile_money", unusable).contains("base_url"));
    }
}
