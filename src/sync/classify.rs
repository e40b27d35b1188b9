//! The rules by which a ref may move: total functions over the facts about its two tips.

use crate::{Reason, Relation, TagPolicy, TipKind, refs::Namespace};

/// Whether a ref that doesn't exist at the destination may be created with a tip of this kind.
pub(crate) fn creation(namespace: Namespace, source: TipKind) -> Result<(), Reason> {
    match (namespace, source) {
        (_, TipKind::Unknown) => Err(Reason::HistoryUnknown),
        (Namespace::Tag, _) | (Namespace::Branch, TipKind::Commit) => Ok(()),
        (Namespace::Branch, TipKind::Tag | TipKind::Tree | TipKind::Blob) => {
            Err(Reason::NotACommit)
        }
    }
}

/// Whether a ref that exists at the destination may move from its tip to the source's.
///
/// `relation` is that of the destination's tip (old) to the source's (new); it counts only if both are commits.
pub(crate) fn movement(
    namespace: Namespace,
    policy: TagPolicy,
    destination: TipKind,
    source: TipKind,
    relation: Relation,
) -> Result<(), Reason> {
    use TipKind::*;
    let both_commits = match (namespace, destination, source) {
        (Namespace::Branch, _, Tag | Tree | Blob) => return Err(Reason::NotACommit),
        (Namespace::Branch, Tag | Tree | Blob, Commit) => return Err(Reason::Diverged),
        (Namespace::Tag, Tag | Tree | Blob, _) | (Namespace::Tag, _, Tag | Tree | Blob) => {
            return Err(Reason::TagExists);
        }
        (_, Unknown, _) | (_, _, Unknown) => return Err(Reason::HistoryUnknown),
        (_, Commit, Commit) => relation,
    };
    if namespace == Namespace::Tag && policy == TagPolicy::Immutable {
        return Err(Reason::TagExists);
    }
    match (namespace, both_commits) {
        (_, Relation::Same | Relation::FastForward) => Ok(()),
        (_, Relation::Unknown) => Err(Reason::HistoryUnknown),
        (Namespace::Branch, Relation::Behind) => Err(Reason::DestinationAhead),
        (Namespace::Branch, Relation::Diverged) => Err(Reason::Diverged),
        (Namespace::Tag, Relation::Behind | Relation::Diverged) => Err(Reason::TagExists),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Namespace::{Branch, Tag as TagRef};
    use Relation::{Behind, Diverged, FastForward, Same};
    use TagPolicy::Immutable;
    use TipKind::*;

    const FF: TagPolicy = TagPolicy::FastForward;

    #[test]
    fn a_branch_moves_forward_only() {
        assert_eq!(movement(Branch, FF, Commit, Commit, FastForward), Ok(()));
        assert_eq!(movement(Branch, FF, Commit, Commit, Same), Ok(()));
        assert_eq!(
            movement(Branch, FF, Commit, Commit, Behind),
            Err(Reason::DestinationAhead)
        );
        assert_eq!(
            movement(Branch, FF, Commit, Commit, Diverged),
            Err(Reason::Diverged)
        );
        assert_eq!(
            movement(Branch, Immutable, Commit, Commit, FastForward),
            Ok(())
        );
    }

    #[test]
    fn unknown_is_never_yes() {
        assert_eq!(
            movement(Branch, FF, Commit, Commit, Relation::Unknown),
            Err(Reason::HistoryUnknown)
        );
        assert_eq!(
            movement(TagRef, FF, Commit, Commit, Relation::Unknown),
            Err(Reason::HistoryUnknown)
        );
        for (destination, source) in [(Unknown, Commit), (Commit, Unknown), (Unknown, Unknown)] {
            for namespace in Namespace::ALL {
                let verdict = movement(namespace, FF, destination, source, FastForward);
                assert_eq!(
                    verdict,
                    Err(Reason::HistoryUnknown),
                    "{namespace:?} {destination:?} {source:?}"
                );
            }
        }
        assert_eq!(creation(Branch, Unknown), Err(Reason::HistoryUnknown));
        assert_eq!(creation(TagRef, Unknown), Err(Reason::HistoryUnknown));
    }

    #[test]
    fn a_branch_points_to_a_commit() {
        for kind in [Tag, Tree, Blob] {
            assert_eq!(creation(Branch, kind), Err(Reason::NotACommit));
            assert_eq!(
                movement(Branch, FF, Commit, kind, FastForward),
                Err(Reason::NotACommit)
            );
            assert_eq!(
                movement(Branch, FF, kind, Commit, FastForward),
                Err(Reason::Diverged)
            );
        }
        assert_eq!(creation(Branch, Commit), Ok(()));
    }

    #[test]
    fn a_tag_can_be_created_on_anything() {
        for kind in [Commit, Tag, Tree, Blob] {
            assert_eq!(creation(TagRef, kind), Ok(()));
        }
    }

    #[test]
    fn a_tag_moves_only_from_commit_to_descendant() {
        assert_eq!(movement(TagRef, FF, Commit, Commit, FastForward), Ok(()));
        assert_eq!(
            movement(TagRef, FF, Commit, Commit, Behind),
            Err(Reason::TagExists)
        );
        assert_eq!(
            movement(TagRef, FF, Commit, Commit, Diverged),
            Err(Reason::TagExists)
        );
        for other in [Tag, Tree, Blob] {
            assert_eq!(
                movement(TagRef, FF, other, Commit, FastForward),
                Err(Reason::TagExists)
            );
            assert_eq!(
                movement(TagRef, FF, Commit, other, FastForward),
                Err(Reason::TagExists)
            );
        }
    }

    #[test]
    fn an_immutable_tag_never_moves() {
        assert_eq!(
            movement(TagRef, Immutable, Commit, Commit, FastForward),
            Err(Reason::TagExists)
        );
    }
}
