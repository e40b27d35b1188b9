//! Outcomes of a push alone: settings of the remote, and objects of a source on this machine.

mod branches;
mod checked_out;
mod refs;
mod unobtainable;
