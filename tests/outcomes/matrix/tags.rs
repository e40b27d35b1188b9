//! Tags move from commit to descendant, or not at all.

use super::outcomes;
use super::row::Expected::*;
use super::row::Row;
use refsync::TagPolicy::Immutable;

outcomes! {
    a_new_tag_on_anything_is_created {
        "main=tip tags/annotated=tag-of-tip tags/blob=blob tags/commit=root tags/nested=tag-of-tag
         tags/of-blob=tag-of-blob tags/tree=tree" => "main=tip";
        "main": Unchanged, "tags/annotated": Created, "tags/blob": Created, "tags/commit": Created,
        "tags/nested": Created, "tags/of-blob": Created, "tags/tree": Created
    }
    a_tag_that_is_the_same_is_unchanged {
        "tags/v1=root tags/v2=tag-of-tip" => "tags/v1=root tags/v2=tag-of-tip";
        "tags/v1": Unchanged, "tags/v2": Unchanged
    }
    an_immutable_tag_that_is_the_same_is_unchanged {
        "tags/v1=root tags/v2=tag-of-tip" => "tags/v1=root tags/v2=tag-of-tip";
        "tags/v1": Unchanged, "tags/v2": Unchanged; tags: Immutable
    }
    a_lightweight_tag_is_fast_forwarded {
        "main=tip tags/v1=tip" => "main=tip tags/v1=root"; "main": Unchanged, "tags/v1": Moved
    }
    a_lightweight_tag_is_fast_forwarded_to_a_new_commit {
        "tags/v1=further" => "tags/v1=root"; "tags/v1": Moved
    }
    an_immutable_tag_is_not_fast_forwarded {
        "tags/v1=tip tags/v2=tag-of-tip" => "main=tip tags/v1=root"; "tags/v1": TagExists, "tags/v2": Created;
        tags: Immutable
    }
    a_tag_that_became_annotated_stays {
        "tags/v1=tag-of-tip" => "main=tip tags/v1=root"; "tags/v1": TagExists
    }
    a_tag_that_is_annotated_at_the_destination_stays {
        "tags/v1=tip +tag-of-root" => "main=tip tags/v1=tag-of-root"; "tags/v1": TagIsNoDescendant
    }
    a_tag_that_is_annotated_and_packed_at_the_destination_stays {
        "tags/v1=root +tag-of-root" => "main=tip tags/v1=tag-of-root"; "tags/v1": TagExists; packed: true
    }
    a_tag_that_is_annotated_at_the_destination_and_unknown_to_the_source_stays {
        "tags/v1=root" => "main=tip tags/v1=tag-of-root"; "tags/v1": TagIsNoDescendant
    }
    a_tag_that_was_annotated_anew_stays {
        "tags/v1=tag-of-tip +tag-of-root" => "main=tip tags/v1=tag-of-root"; "tags/v1": TagExists
    }
    a_tag_that_was_annotated_anew_and_is_unknown_to_the_source_stays {
        "tags/v1=tag-of-tip" => "main=tip tags/v1=tag-of-root"; "tags/v1": TagExists
    }
    a_tag_that_moved_to_a_tree_stays {
        "tags/v1=tree" => "main=tip tags/v1=root"; "tags/v1": TagIsNoDescendant
    }
    a_tag_that_moved_to_a_blob_stays {
        "tags/v1=blob" => "main=tip tags/v1=root"; "tags/v1": TagIsNoDescendant
    }
    a_tag_on_a_blob_at_the_destination_stays {
        "tags/v1=root" => "main=tip tags/v1=blob"; "tags/v1": TagIsNoDescendant
    }
    a_tag_on_a_tree_at_the_destination_stays {
        "tags/v1=root +tree" => "main=tip tags/v1=tree"; "tags/v1": TagIsNoDescendant
    }
    a_tag_that_diverged_stays {
        "tags/v1=side +tip" => "main=tip tags/v1=tip"; "tags/v1": TagIsNoDescendant
    }
    a_tag_that_is_ahead_at_the_destination_stays {
        "tags/v1=root +tip" => "main=tip tags/v1=tip"; "tags/v1": TagIsNoDescendant
    }
}
