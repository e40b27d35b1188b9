//! A progress bar on a terminal.

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use refsync::{Phase, Progress};

pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        // Draws nothing where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:24} {msg}").expect("a valid template");
        Bar(bar.with_style(style))
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn advance(&self, phase: Phase, done: u64, total: Option<u64>) {
        match total {
            Some(total) => self.0.set_length(total),
            None => self.0.unset_length(),
        }
        self.0.set_position(done);
        self.0.set_message(match phase {
            Phase::List => format!("listing refs: {done}"),
            Phase::Receive => format!("receiving objects: {}", HumanBytes(done)),
            Phase::Verify => format!("verifying objects: {done}"),
            Phase::Compare => format!("comparing refs: {done}"),
            Phase::Count => format!("counting objects: {done}"),
            Phase::Send => format!("sending objects: {done}"),
            Phase::Apply => format!("updating refs: {done}"),
            _ => done.to_string(),
        });
    }
}
