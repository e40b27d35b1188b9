//! Refs that take no part, and names that can't exist beside one another.

use super::outcomes;
use super::row::Expected::*;
use super::row::Row;

outcomes! {
    a_symbolic_ref_at_the_source_takes_no_part {
        "main=tip alias->main" => "main=tip"; "main": Unchanged, "alias": SymbolicRef
    }
    other_namespaces_take_no_part {
        "main=tip refs/notes/commits=tip refs/remotes/up/main=tip refs/stash=tip" => "main=tip"; "main": Unchanged
    }
    what_the_globs_exclude_is_not_in_the_stats {
        "main=tip other=ahead release/1/2=other tags/v1=ahead" => "main=tip"; "release/1/2": Created;
        globs: Some("{bystander,release/*}")
    }
    what_the_globs_exclude_is_listed_on_request_with_what_the_destination_has {
        "main=tip other=ahead release/1/2=tip tags/v1=ahead" => "main=tip";
        "main": Excluded, "other": Excluded, "release/1/2": Excluded,
        "tags/v1": Excluded;
        globs: Some("bystander"), list_excluded: true
    }
    a_ref_below_another_one {
        "a/b=tip tags/a/b/c=tip" => "a=root tags/a=root main=tip"; "a/b": Conflict("a"), "tags/a/b/c": Conflict("tags/a")
    }
    a_ref_below_a_packed_one {
        "a/b=tip tags/a/b/c=tip" => "a=root tags/a=root main=tip"; "a/b": Conflict("a"), "tags/a/b/c": Conflict("tags/a");
        packed: true
    }
    a_ref_above_another_one {
        "a=tip tags/a=tip" => "a/b=root tags/a/b/c=root main=tip"; "a": Conflict("a/b"), "tags/a": Conflict("tags/a/b/c")
    }
    a_ref_above_a_packed_one {
        "a=tip tags/a=tip" => "a/b=root tags/a/b/c=root main=tip"; "a": Conflict("a/b"), "tags/a": Conflict("tags/a/b/c");
        packed: true
    }
    of_two_refs_in_one_batch_the_first_is_created {
        "a=tip a/b=root" => "main=tip"; "a": Created, "a/b": Conflict("a"); packed: true
    }
    a_ref_that_the_globs_leave_out_is_still_in_the_way_above {
        "release/1=tip" => "release=root main=tip"; "release/1": Conflict("release"); globs: Some("{bystander,release/*}")
    }
    a_ref_that_the_globs_leave_out_is_still_in_the_way_below {
        "release/1=tip" => "release/1/2=root main=tip"; "release/1": Conflict("release/1/2");
        globs: Some("{bystander,release/1}")
    }
    /// Git's own file systems here tell them apart.
    names_that_differ_in_case_are_apart {
        "Main=root main=tip" => "main=tip"; "Main": Created, "main": Unchanged
    }
}
