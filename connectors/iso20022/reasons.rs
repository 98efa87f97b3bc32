//! What the external status and return reason codes of ISO 20022 say about who has to act. Pure.
//! Deliberately not here: a default. A code that is not in the table proves nothing, and somebody is told.

use crate::contract::ReasonClass;
use ReasonClass::{Duplicate, FixAtBank, FixData, Format, Funding, Limit, Schedule, Stop, Unknown};

/// Ascending by code, so that it can be searched.
const CODES: &[(&str, ReasonClass)] = &[
    ("AB05", Unknown),
    ("AB06", Unknown),
    ("AB07", Unknown),
    ("AB08", Unknown),
    ("AB09", Unknown),
    ("AB10", Unknown),
    ("AC01", FixData),
    ("AC02", FixData),
    ("AC03", FixData),
    ("AC04", FixAtBank),
    ("AC05", FixAtBank),
    ("AC06", FixAtBank),
    ("AC07", FixAtBank),
    ("AC12", FixData),
    ("AC13", FixData),
    ("AC14", FixData),
    ("AG01", FixAtBank),
    ("AGNT", FixData),
    ("AM01", Format),
    ("AM02", Limit),
    ("AM03", Format),
    ("AM04", Funding),
    ("AM05", Duplicate),
    ("AM06", Limit),
    ("AM07", Stop),
    ("AM10", Format),
    ("AM11", Format),
    ("AM12", Format),
    ("AM13", Limit),
    ("AM14", Limit),
    ("AM18", Format),
    ("AM19", Format),
    ("AM21", Limit),
    ("AM23", Funding),
    ("BE01", FixData),
    ("BE04", FixData),
    ("BE05", FixData),
    ("BE06", FixData),
    ("BE07", Format),
    ("CH03", Format),
    ("CH04", Format),
    ("CH07", Format),
    ("CH09", Format),
    ("CH10", Format),
    ("CH11", Format),
    ("CH12", Format),
    ("CH13", Format),
    ("CH14", Format),
    ("CH15", Format),
    ("CH16", Format),
    ("CH17", Format),
    ("CH19", Format),
    ("CH20", Format),
    ("CH21", Format),
    ("CH22", Format),
    ("CNOR", FixData),
    ("DT01", Schedule),
    ("DT06", Schedule),
    ("DU01", Duplicate),
    ("DU02", Duplicate),
    ("DU03", Duplicate),
    ("DU04", Duplicate),
    ("DU05", Duplicate),
    ("DUPL", Duplicate),
    ("ED05", Unknown),
    ("FF01", Format),
    ("FF03", Format),
    ("FF04", Format),
    ("FF05", Format),
    ("FF06", Format),
    ("FF07", Format),
    ("FF10", Format),
    ("LEGL", Stop),
    ("MD07", Stop),
    ("MS02", FixAtBank),
    ("MS03", FixAtBank),
    ("NARR", Format),
    ("RC01", FixData),
    ("RC04", FixData),
    ("RC07", FixData),
    ("RC08", FixData),
    ("RC10", FixData),
    ("RF01", Duplicate),
    ("RR01", Format),
    ("RR02", Format),
    ("RR03", FixData),
    ("RR04", Stop),
    ("TD01", Format),
    ("TD02", Format),
    ("TD03", Format),
    ("TECH", Unknown),
    ("TM01", Schedule),
];

/// The class of a code, whatever its case; `None` when nobody mapped it.
pub fn class(code: &str) -> Option<ReasonClass> {
    let bytes: [u8; 4] = code.as_bytes().try_into().ok()?;
    let upper = bytes.map(|byte| byte.to_ascii_uppercase());
    let found = CODES.binary_search_by(|(known, _)| known.as_bytes().cmp(&upper)).ok()?;
    CODES.get(found).map(|(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched_and_codes_have_their_class() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0), "ascending, none twice");
        for (code, expected) in CODES {
            assert_eq!(class(code), Some(*expected));
        }
        for (code, expected) in
            [("AC01", FixData), ("ac04", FixAtBank), ("AM04", Funding), ("MD07", Stop), ("DU01", Duplicate)]
        {
            assert_eq!(class(code), Some(expected), "{code}");
        }
        for code in ["", "AC0", "AC011", "ZZ99", "AC01 ", "ÄC1"] {
            assert_eq!(class(code), None, "{code}");
        }
    }
}
