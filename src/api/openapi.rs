//! What the description of the API says before its paths: title, tags, and how to show a token.

use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// The description without its paths.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Paymaster",
        description = "Pays social-protection payrolls: nobody twice, nobody forgotten, every end with evidence.\n\n\
            Errors are problem details (RFC 9457); decide by `code`. Lists go on with `next` as `cursor`. Sums are \
            given as decimals and in minor units. What belongs to another tenant does not exist (404).",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(),
    ),
    tags(
        (name = "programmes", description = "What must stand before a payroll can come."),
        (name = "payrolls", description = "Who is owed what in one cycle: in, approved, released."),
        (name = "disbursements", description = "One sum for one payee."),
        (name = "batches", description = "What one provider got at once, and the evidence."),
        (name = "exceptions", description = "What a person has to look at."),
        (name = "reports", description = "Tables for people, held against the ledger."),
        (name = "publications", description = "Messages to the registry."),
        (name = "providers", description = "Stopping and going on."),
        (name = "tokens", description = "Who may call."),
        (name = "callbacks", description = "Where providers call."),
        (name = "health", description = "For whoever watches the service."),
    ),
    modifiers(&Token),
)]
pub struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}
