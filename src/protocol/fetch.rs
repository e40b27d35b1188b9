//! One round of negotiation, and what a server may say instead of sending a pack.

use bstr::{BStr, ByteSlice};
use gix_protocol::fetch::{
    Arguments, Negotiate, Response,
    negotiate::{Action, Round, one_round::State},
};

use crate::{ObjectId, PackRequest};

/// Sends every "have" there is and "done" with them, so that the pack comes at once.
pub(crate) struct OneRound<'a> {
    pub(crate) request: &'a PackRequest,
    /// Whether the server may be asked to keep its progress messages to itself.
    pub(crate) no_progress: bool,
}

impl Negotiate for OneRound<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<Action> {
        Ok(Action::MustNegotiate {
            remote_ref_target_known: Vec::new(),
        })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _: &[bool]) -> bool {
        if self.no_progress {
            arguments.add_feature("no-progress");
        }
        self.request.wants.iter().for_each(|id| arguments.want(id));
        self.request
            .shallow
            .iter()
            .for_each(|id| arguments.shallow(id));
        !self.request.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _: &mut State,
        arguments: &mut Arguments,
        answer: Option<&Response>,
    ) -> gix::Result<(Round, bool)> {
        // Everything has been said. The same again would go on for as long as the server likes.
        if answer.is_some() {
            return Err(
                gix::error::message("the server was told \"done\" and sent no pack").into(),
            );
        }
        self.request.haves.iter().for_each(|id| arguments.have(id));
        let round = Round {
            haves_sent: self.request.haves.len(),
            in_vain: 0,
            haves_to_send: self.request.haves.len(),
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}

/// The tip that the server doesn't want to hand out, from its `ERR` line: git says
/// `upload-pack: not our ref <oid>` (`upload-pack.c`), whether it lost the object or hides it.
pub(crate) fn refused_want(err_line: &BStr, wants: &[ObjectId]) -> Option<ObjectId> {
    let (_, rest) = err_line.split_once_str("not our ref ")?;
    let hex = rest.split(|byte| !byte.is_ascii_hexdigit()).next()?;
    let id = ObjectId::from_hex(hex).ok()?;
    wants.contains(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_want_is_one_that_was_asked_for() {
        let id = |digit: &str| ObjectId::from_hex(digit.repeat(40).as_bytes()).expect("hex");
        let wants = [id("a"), id("b")];
        let line = |text: String| refused_want(text.as_str().into(), &wants);
        assert_eq!(
            line(format!("upload-pack: not our ref {}", "b".repeat(40))),
            Some(id("b"))
        );
        assert_eq!(
            line(format!("upload-pack: not our ref {}\n", "a".repeat(40))),
            Some(id("a"))
        );
        assert_eq!(
            line(format!("upload-pack: not our ref {}", "c".repeat(40))),
            None
        );
        assert_eq!(line("upload-pack: not our ref what".into()), None);
        assert_eq!(line("access denied".into()), None);
    }
}
