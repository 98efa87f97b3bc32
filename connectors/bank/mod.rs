//! A bank by files: `pain.001` out, `pain.002`, `camt.05x` and MT940 in, delivered by folder or SFTP.
//!
//! The bytes are `iso20022`'s and `mt940`'s, the way is `delivery`'s; here is the order of things. A file is named
//! after its batch, so that it is put once: whoever is not sure looks first. Deliberately not here: what a status or an
//! entry means for a payment.

mod settings;
#[cfg(test)]
mod tests;

use std::io::{BufRead, Cursor, Read};

use async_trait::async_trait;
use bytes::Bytes;

pub use settings::{CalendarSettings, Finality, Settings};

use crate::contract::{
    Batch, Connector, Failure, FileSink, Gate, Inbox, Message, Outcome, Profile, ReadError, Reason, ReasonClass,
    Report, Said, Source,
};
use crate::delivery::{Delivery, Kind, Sight};
use crate::iso20022::{self, pain001};
use crate::mt940;

/// Bytes of a file by which its kind is told.
const KIND_BYTES: usize = 256;

/// One bank.
pub struct Bank {
    /// The installation's name for the provider.
    name: String,
    settings: Settings,
    profile: Profile,
    delivery: Delivery,
}

/// Opens a bank; settings that cannot work are `Blocked`.
pub fn open(name: &str, settings: Settings) -> Result<Bank, Failure> {
    settings.check()?;
    let (profile, delivery) = (settings.profile()?, settings.delivery.open()?);
    Ok(Bank { name: name.to_owned(), settings, profile, delivery })
}

#[async_trait]
impl Connector for Bank {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn encode(&self, batch: &Batch) -> Result<Vec<u8>, Failure> {
        Ok(pain001::encode(&self.settings.bank, batch)?)
    }

    async fn submit(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        // What is to be sent is looked at once more: a file that is not the batch does not leave. That is our own fault and
        // says nothing of payments, of which an earlier copy may be on its way.
        pain001::check(batch, wire)
            .map_err(|error| Failure::Blocked(Reason::new(ReasonClass::Format, "not_the_batch", error.to_string())))?;
        let name = pain001::file_name(&self.settings.bank, batch);
        let items = u32::try_from(batch.instructions.len()).unwrap_or(u32::MAX);
        self.delivery.put(&name, wire, items, gate).await?;
        let origin = format!("put {name}");
        let text = format!("{name}: {} bytes are in the bank's folder", wire.len());
        self.delivered(said, Source::Reply, origin, (name, text)).await
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        if batch.provider_reference.is_some() {
            // It was delivered; the bank's files say the rest.
            return Ok(());
        }
        let name = pain001::file_name(&self.settings.bank, batch);
        let bytes = batch.wire_bytes;
        let sight = self.delivery.look(&name, bytes).await?;
        let origin = format!("look for {name}");
        tracing::info!(provider = self.name, batch = %batch.reference, ?sight, "looked for a file");
        match sight {
            Sight::There => {
                let text = format!("{name}: {bytes} bytes are in the bank's folder");
                self.delivered(said, Source::Inquiry, origin, (name, text)).await
            }
            Sight::OtherSize => {
                Err(Failure::Blocked(Reason::unknown("other_size", format!("{name} is there with another size"))))
            }
            Sight::Unmarked => {
                let text = format!("{name} is there without its marker; put one beside it, or take the file away");
                Err(Failure::Blocked(Reason::unknown("unmarked", text)))
            }
            // A server may have died between giving the new name and taking the old one off.
            Sight::OnlyPart if self.settings.delivery.kind == Kind::Sftp && self.settings.kept_days == 0 => Ok(()),
            Sight::OnlyPart => self.absent(said, origin, format!("{name}: only its temporary file is there")).await,
            Sight::Nothing if self.settings.kept_days > 0 => {
                self.absent(said, origin, format!("{name}: it is in no folder where the bank keeps what it took")).await
            }
            // The bank may have taken it away: that it is not there proves nothing.
            Sight::Nothing => Ok(()),
        }
    }

    async fn collect(&self, inbox: &mut dyn Inbox) -> Result<(), Failure> {
        self.delivery.collect(inbox).await
    }

    fn read(&self, file: &mut dyn BufRead, sink: &mut dyn FileSink) -> Result<(), ReadError> {
        let mut beginning = Vec::with_capacity(KIND_BYTES);
        file.take(KIND_BYTES as u64).read_to_end(&mut beginning)?;
        let is_xml = beginning.iter().find(|byte| !byte.is_ascii_whitespace() && **byte < 0x80) == Some(&b'<');
        let whole = Cursor::new(beginning).chain(file);
        if is_xml {
            return iso20022::read(whole, &self.settings.bank.status, sink);
        }
        mt940::read(whole, self.settings.mt940, sink)
    }
}

impl Bank {
    async fn delivered(
        &self,
        said: &mut dyn Said,
        source: Source,
        origin: String,
        (name, text): (String, String),
    ) -> Result<(), Failure> {
        let report = Report { provider_reference: Some(name), ..Report::batch(Outcome::Accepted) };
        self.say(said, Message { source, origin, bytes: Bytes::from(text) }, report).await
    }

    async fn absent(&self, said: &mut dyn Said, origin: String, text: String) -> Result<(), Failure> {
        let message = Message { source: Source::Inquiry, origin, bytes: Bytes::from(text) };
        self.say(said, message, Report::batch(Outcome::Absent)).await
    }

    async fn say(&self, said: &mut dyn Said, message: Message, report: Report) -> Result<(), Failure> {
        let told = said.say(message, vec![report]).await;
        told.map_err(|error| Failure::InDoubt(Reason::new(ReasonClass::Unknown, "not_stored", format!("{error:#}"))))
    }
}
