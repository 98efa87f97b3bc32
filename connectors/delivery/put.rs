//! The rules by which a file of ours is put in place and looked for, the same for every place.
//! Deliberately not here: how a place does a step.

use super::Sight;
use super::place::{At, Place, Stat, Trouble, unavailable};
use super::settings::Plan;
use crate::contract::{Failure, Gate, Reason};

/// A file on its way.
pub(super) struct Outgoing<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
    pub items: u32,
}

/// Puts a file, unless it is there already.
pub(super) async fn put(place: &dyn Place, plan: &Plan, file: &Outgoing<'_>, gate: &dyn Gate) -> Result<(), Failure> {
    let bytes = file.bytes.len() as u64;
    match look(place, plan, file.name, bytes).await.map_err(Trouble::failure)? {
        Sight::There => return Ok(()),
        Sight::OtherSize => return Err(other_size(file.name)),
        // The marker is what lets a bank take the file, so that it is a write like the file's own.
        Sight::Unmarked => gate.pass(file.items).await?,
        Sight::OnlyPart | Sight::Nothing => {
            gate.pass(file.items).await?;
            upload(place, plan, file).await?;
            gate.pass(file.items).await?;
            name_it(place, plan, file.name, bytes).await?;
        }
    }
    mark(place, plan, file.name).await
}

/// Where a file is. The temporary name is looked at first and what the bank took last, so that a file on its way from
/// one to the next is not missed.
pub(super) async fn look(place: &dyn Place, plan: &Plan, name: &str, bytes: u64) -> Result<Sight, Trouble> {
    // A folder that is not mounted would look like a file that never arrived.
    for folder in std::iter::once(&plan.outbox).chain(&plan.sent) {
        place.enter(folder).await?;
    }
    let is_it = |stat: Stat| stat.is_file && stat.bytes == bytes;
    let part = place.stat(At { folder: &plan.outbox, name: &part_of(name) }).await?;
    match place.stat(At { folder: &plan.outbox, name }).await? {
        Some(stat) if !is_it(stat) => return Ok(Sight::OtherSize),
        Some(_) => return if marked(place, plan, name).await? { Ok(Sight::There) } else { Ok(Sight::Unmarked) },
        None => {}
    }
    for folder in &plan.sent {
        if let Some(stat) = place.stat(At { folder, name }).await? {
            return Ok(if is_it(stat) { Sight::There } else { Sight::OtherSize });
        }
    }
    Ok(if part.is_some() { Sight::OnlyPart } else { Sight::Nothing })
}

async fn marked(place: &dyn Place, plan: &Plan, name: &str) -> Result<bool, Trouble> {
    let Some(marker) = &plan.marker else { return Ok(true) };
    let name = format!("{name}{marker}");
    Ok(place.stat(At { folder: &plan.outbox, name: &name }).await?.is_some())
}

/// Writes the whole file under its temporary name.
async fn upload(place: &dyn Place, plan: &Plan, file: &Outgoing<'_>) -> Result<(), Failure> {
    let part = part_of(file.name);
    let at = At { folder: &plan.outbox, name: &part };
    place.write(at, file.bytes).await.map_err(Trouble::failure)?;
    let written = place.stat(at).await.map_err(Trouble::failure)?;
    if written.is_some_and(|stat| stat.is_file && stat.bytes == file.bytes.len() as u64) {
        return Ok(());
    }
    let text = format!("what was uploaded of {} has another size than what was sent", file.name);
    Err(unavailable(Reason::unknown("part_size", text)))
}

/// Gives the uploaded file its name. From here on only a clear no leaves no doubt.
async fn name_it(place: &dyn Place, plan: &Plan, name: &str, bytes: u64) -> Result<(), Failure> {
    let part = part_of(name);
    let (from, to) = (At { folder: &plan.outbox, name: &part }, At { folder: &plan.outbox, name });
    match place.rename_new(from, to).await {
        Ok(()) => match place.stat(to).await {
            Ok(Some(stat)) if !stat.is_file || stat.bytes != bytes => Err(other_size(name)),
            // The rename was confirmed, and a bank may take a file at once.
            Ok(_) | Err(_) => Ok(()),
        },
        Err(trouble @ Trouble::Unsent(_)) => Err(trouble.failure()),
        Err(trouble) if trouble.answered() => refused(place, (from, to), bytes, trouble).await,
        Err(trouble) => Err(Failure::InDoubt(trouble.reason())),
    }
}

/// The place said no to the rename: it is believed when the file is still where it was.
async fn refused(place: &dyn Place, (from, to): (At<'_>, At<'_>), bytes: u64, trouble: Trouble) -> Result<(), Failure> {
    let part = place.stat(from).await;
    match place.stat(to).await {
        Ok(None) if matches!(part, Ok(Some(_))) => Err(trouble.failure()),
        Ok(Some(stat)) if stat.is_file && stat.bytes == bytes => Ok(()),
        Ok(Some(_)) => Err(other_size(to.name)),
        Ok(None) | Err(_) => Err(Failure::InDoubt(trouble.reason())),
    }
}

/// Writes the marker, if one is due. The file has its name by now, so that a failure leaves a doubt.
async fn mark(place: &dyn Place, plan: &Plan, name: &str) -> Result<(), Failure> {
    let Some(marker) = &plan.marker else { return Ok(()) };
    let name = format!("{name}{marker}");
    let written = place.write(At { folder: &plan.outbox, name: &name }, b"").await;
    written.map_err(|trouble| Failure::InDoubt(trouble.reason()))
}

/// The name of a file until it is whole. Banks take nothing that begins with a dot.
pub(super) fn part_of(name: &str) -> String {
    format!(".{name}.part")
}

fn other_size(name: &str) -> Failure {
    let text = format!("something of another size has the name {name}; it was left as it is");
    Failure::InDoubt(Reason::unknown("other_size", text))
}
