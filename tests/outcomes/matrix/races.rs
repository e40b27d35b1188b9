//! Somebody else moves the destination's refs once they were listed.

use super::outcomes;
use super::row::Expected::*;
use super::row::Row;

outcomes! {
    a_branch_that_moved_meanwhile {
        "main=ahead" => "main=tip"; "main": Raced;
        meanwhile: Some(|to| drop(to.git(&["update-ref", "refs/heads/main", "main^"])))
    }
    a_branch_that_was_packed_meanwhile_is_still_moved {
        "main=ahead" => "main=tip"; "main": Moved;
        meanwhile: Some(|to| drop(to.git(&["pack-refs", "--all"])))
    }
    a_branch_that_was_deleted_meanwhile_stays_deleted {
        "main=ahead" => "main=tip"; "main": Raced;
        meanwhile: Some(|to| to.delete_ref("refs/heads/main"))
    }
    one_of_many_new_branches_that_was_created_meanwhile {
        "main=tip a=ahead topic=other z=side" => "main=tip";
        "main": Unchanged, "a": Created, "topic": Raced, "z": Created;
        meanwhile: Some(|to| drop(to.git(&["branch", "topic", "main^"])))
    }
    a_race_lost_to_the_same_tip_is_said_to_be_one {
        "main=tip topic=ahead" => "main=root keep=tip"; "main": Raced, "topic": Created;
        meanwhile: Some(|to| drop(to.git(&["update-ref", "refs/heads/main", "keep"])))
    }
    /// A directory where the ref would have to be.
    a_name_below_it_that_was_created_meanwhile_is_not_overwritten {
        "main=tip topic=ahead" => "main=tip";
        "main": Unchanged, "topic": Differs(&Conflict("topic/below"), &Refused);
        meanwhile: Some(|to| drop(to.git(&["branch", "topic/below", "main^"])))
    }
    /// A ref where its directory would have to be.
    a_name_above_it_that_was_created_meanwhile_is_not_overwritten {
        "main=tip topic/below=ahead" => "main=tip";
        "main": Unchanged, "topic/below": Differs(&Conflict("topic"), &Refused);
        meanwhile: Some(|to| drop(to.git(&["branch", "topic", "main^"])))
    }
}
