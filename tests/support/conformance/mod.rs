//! The behaviour that every pair of ends has in common, whatever lies between them and however they store it.

#![allow(unreachable_pub, reason = "the scenarios are the suite's interface")]

pub mod cancellation;
pub mod pulling;
pub mod wire_use;

pub use crate::support::ends::{Destination, Setup, Source};

/// Runs the suite over pairs of ends, each scenario a test of its own: what every pair has to do,
/// and what only remotes can be tried with.
#[macro_export]
macro_rules! conforms {
    ($($kind:ident { $($pair:ident => $setup:expr;)* })*) => { $($(
        mod $pair {
            use super::*;
            $crate::conforms! { @scenarios $setup,
                pulling: first_pull, nothing_to_do, one_commit_more, a_new_tag_on_a_known_commit,
                    a_branch_that_diverged, very_many_new_refs, a_dry_run_predicts_the_run,
                    an_empty_upstream;
                wire_use: globs_narrow_the_listing, traffic_is_counted_at_the_socket,
                    progress_is_told_in_order;
                cancellation: before_the_start, in_every_phase, too_late_to_matter;
            }
            $crate::conforms! { @$kind $setup }
        }
    )*)* };
    (@pull $setup:expr) => {
        $crate::conforms! { @from_remote $setup }
        $crate::conforms! { @scenarios $setup,
            wire_use: a_previous_run_spares_the_fetch;
        }
    };
    (@push $setup:expr) => {
        $crate::conforms! { @local $setup }
        $crate::conforms! { @scenarios $setup,
            wire_use: the_connection_is_kept;
            cancellation: while_the_remote_takes_in_a_push;
        }
    };
    (@relay $setup:expr) => {
        $crate::conforms! { @from_remote $setup }
        $crate::conforms! { @scenarios $setup,
            cancellation: while_the_remote_takes_in_a_push;
        }
    };
    (@local $setup:expr) => {
        $crate::conforms! { @scenarios $setup,
            pulling: an_object_that_the_source_lost;
        }
    };
    (@from_remote $setup:expr) => {
        $crate::conforms! { @scenarios $setup,
            pulling: a_tip_that_is_gone;
            wire_use: the_connection_is_kept;
            cancellation: while_the_server_stalls;
        }
    };
    (@scenarios $setup:expr, $($theme:ident: $($scenario:ident),*;)*) => { $($(
        #[test]
        fn $scenario() {
            $crate::conformance::$theme::$scenario(&$setup);
        }
    )*)* };
}
