//! Goes through the events of an XML file and nothing else: what any reader of it must do at least.
//! Deliberately not here: what the events mean.

use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::reading::ReadError;

/// How many events a file has.
pub fn walk(from: impl BufRead) -> Result<u64, ReadError> {
    let mut reader = Reader::from_reader(from);
    let (mut event, mut events) = (Vec::new(), 0);
    loop {
        event.clear();
        match reader.read_event_into(&mut event) {
            Ok(Event::Eof) => return Ok(events),
            Ok(_) => events += 1,
            Err(error) => return Err(ReadError::unreadable("malformed", reader.buffer_position(), error.to_string())),
        }
    }
}
