//! A file that is CMS signed data with its content inside (RFC 5652 §5).

use crate::cms::parse::{MAX_CONTENT, MAX_ENVELOPE};
use crate::cms::{Content, SignedData, claims, verify};
use crate::error::Result;
use crate::file::Request;
use crate::formats::{Container, Parsed, Reading};
use crate::outcome::{Finding, Outcome};
use crate::pass::Pass;
use crate::source::Source;
use crate::trust::{Purpose, Trust};

pub struct Attached {
    signed: SignedData,
}

pub fn parse(source: &Source) -> Result<Parsed> {
    let most = MAX_CONTENT.saturating_add(MAX_ENVELOPE);
    let size = match usize::try_from(source.size()) {
        // As PEM it takes a third more.
        Ok(size) if size <= most.saturating_add(most >> 1) => size,
        _ => {
            return Ok(Err(format!(
                "it has {} bytes; with its content inside at most {most} are accepted, give a detached signature of \
                 larger files",
                source.size()
            )));
        }
    };
    let bytes = source.read_exact(0, size)?;
    Ok(match SignedData::parse(&bytes) {
        Ok(signed) if signed.content.is_some() => Ok(Box::new(Attached { signed })),
        Ok(_) => Err(
            "it is a detached signature without the content; submit what it signs, and this as its signature"
                .to_owned(),
        ),
        Err(why) => Err(why),
    })
}

impl Container for Attached {
    fn plan(&mut self, _: &mut Pass, _: &Trust) {}

    fn judge(&self, _: &Pass, _: &Source, request: &Request<'_>) -> Result<Reading> {
        let content = self.signed.content.as_deref().unwrap_or_default();
        let verdicts = verify(
            &self.signed,
            "The CMS signature inside",
            &Content::Bytes(content),
            request,
            &request.moment(),
        );
        let mut told = claims::of(&self.signed);
        told.insert("content_size".to_owned(), content.len().into());
        Ok(Reading {
            format: match request.purpose {
                Purpose::Firmware => Finding::new(
                    Outcome::Pass,
                    format!(
                        "Well-formed CMS signed data around {} bytes of content, whose own form is not examined.",
                        content.len()
                    ),
                ),
                _ => Finding::new(
                    Outcome::NotApplicable,
                    "Its form is not the business of this check.",
                ),
            },
            verdicts,
            unsigned: Finding::new(Outcome::Fail, "Nobody signed it."),
            checks: Vec::new(),
            claims: told,
        })
    }
}
