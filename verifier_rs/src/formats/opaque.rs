//! A file whose inside is not read: only its digest and a detached signature can be checked.

use serde_json::Map;

use crate::error::Result;
use crate::file::Request;
use crate::formats::{Container, Format, Reading, unsigned};
use crate::outcome::{Finding, Outcome};
use crate::pass::Pass;
use crate::source::Source;
use crate::trust::{Purpose, Trust};

pub struct Opaque(pub Format);

impl Container for Opaque {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, _: &Source, request: &Request<'_>) -> Result<Reading> {
        let format = match self.0 {
            Format::Empty => Finding::new(Outcome::Unreadable, "The file is empty."),
            Format::Opaque if request.purpose != Purpose::Firmware => Finding::new(
                Outcome::NotApplicable,
                "Its form is not the business of this check.",
            ),
            Format::Opaque => Finding::new(
                Outcome::Warn,
                "The format is not known, so nothing inside the file can be examined; only its digest and a \
                 detached signature can be checked.",
            ),
            format => Finding::new(
                Outcome::Pass,
                format!(
                    "Recognised as {} by its own bytes; this format carries no signature of its own and its inside \
                     is not examined.",
                    format.name()
                ),
            ),
        };
        Ok(Reading {
            format,
            verdicts: Vec::new(),
            unsigned: unsigned(),
            checks: Vec::new(),
            claims: Map::new(),
        })
    }
}
