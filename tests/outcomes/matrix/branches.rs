//! Branches move from commit to descendant, or not at all.

use super::outcomes;
use super::row::Expected::*;
use super::row::Row;
use crate::support::verdict::Flag;

outcomes! {
    a_branch_that_the_destination_lacks_is_created {
        "main=tip topic=ahead" => "main=tip"; "main": Unchanged, "topic": Created
    }
    everything_is_created_in_an_empty_destination {
        "main=tip tags/v1=tag-of-tip" => ""; "main": Created, "tags/v1": Created
    }
    a_branch_on_a_commit_that_is_there_is_created_without_an_object {
        "main=tip deep/er/topic=root" => "main=tip"; "main": Unchanged, "deep/er/topic": Created
    }
    a_branch_with_the_same_tip_is_unchanged {
        "main=tip" => "main=tip"; "main": Unchanged
    }
    a_branch_is_fast_forwarded {
        "main=further" => "main=tip"; "main": Moved
    }
    a_branch_is_fast_forwarded_to_a_merge_of_what_it_was {
        "main=merge" => "main=tip"; "main": Moved
    }
    a_packed_branch_is_fast_forwarded {
        "main=ahead" => "main=tip"; "main": Moved; packed: true
    }
    clock_skew_does_not_hide_a_fast_forward {
        "main=skewed" => "main=tip"; "main": Moved
    }
    a_branch_that_is_ahead_at_the_destination_stays {
        "main=tip" => "main=ahead"; "main": Ahead
    }
    a_branch_whose_newer_commits_the_source_has_without_a_ref_stays {
        "main=tip +ahead" => "main=ahead"; "main": Ahead
    }
    a_branch_that_was_moved_back_at_the_source_stays {
        "main=root +tip" => "main=tip"; "main": Ahead
    }
    a_branch_that_diverged_stays {
        "main=other" => "main=ahead"; "main": Diverged
    }
    a_branch_that_diverged_from_a_tip_that_the_source_has_stays {
        "main=other +ahead" => "main=ahead"; "main": Diverged
    }
    an_unrelated_history_has_diverged {
        "main=unrelated +tip" => "main=tip"; "main": Diverged
    }
    a_branch_that_the_source_deleted_stays_and_is_not_listed {
        "main=tip" => "main=tip gone=root"; "main": Unchanged
    }
    a_branch_on_a_tag_tree_or_blob_is_not_created {
        "main=tip tag=tag-of-tip tree=new-tree known=tree blob=blob" => "main=tip";
        "main": Unchanged, "tag": NotACommit, "tree": NotACommit, "known": NotACommit, "blob": NotACommit
    }
    a_branch_does_not_move_to_a_tag {
        "main=tip topic=tag-of-tip" => "main=tip topic=tip"; "main": Unchanged, "topic": NotACommit
    }
    a_branch_does_not_move_to_a_tree {
        "main=tip topic=new-tree" => "main=tip topic=tip"; "main": Unchanged, "topic": NotACommit
    }
    a_branch_does_not_move_to_a_blob {
        "main=tip topic=blob" => "main=tip topic=tip"; "main": Unchanged, "topic": NotACommit
    }
    /// Git goes by the commit behind the tag.
    a_branch_that_is_a_tag_at_the_destination_has_diverged {
        "topic=ahead +tag-of-tip" => "topic=tag-of-tip"; "topic": Diverged; git: Some(Flag::FastForward)
    }
}
