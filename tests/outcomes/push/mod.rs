//! What only a push meets.

mod branches;
mod checked_out;
mod refs;
mod unobtainable;
