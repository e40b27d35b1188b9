//! One situation, and what is to become of its refs.

use super::scene::Scene;
use crate::support::Repo;
use crate::support::ends::{Destination, Setup, Source};
use crate::support::verdict::Flag;
use refsync::{RefGlobs, SyncOptions, TagPolicy};

pub(super) struct Row {
    pub(super) source: &'static str,
    pub(super) destination: &'static str,
    pub(super) expected: &'static [(&'static str, Expected)],
    /// Those of branches; there are none of tags then.
    pub(super) globs: Option<&'static str>,
    pub(super) list_excluded: bool,
    pub(super) tags: TagPolicy,
    /// Both ends have their refs and objects packed.
    pub(super) packed: bool,
    /// Changes the destination once it was listed, before any object moves.
    pub(super) meanwhile: Option<fn(&Repo)>,
    /// Git's verdict about the first ref, if it differs from ours.
    pub(super) git: Option<Flag>,
}

/// The outcome of one ref.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    Created,
    Moved,
    Unchanged,
    /// This one and the next three are `DestinationUnknown` if the end that decides lacks the destination's tip.
    Ahead,
    Diverged,
    TagExists,
    /// `TagExists` that only the objects tell: both tips are commits, or may be.
    TagIsNoDescendant,
    NotACommit,
    Conflict(&'static str),
    SymbolicRef,
    Excluded,
    Raced,
    /// The remote says no.
    Refused,
    /// The outcome of a pull, and of a push.
    Differs(&'static Expected, &'static Expected),
}
use Expected::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    Pull,
    LocalToLocal,
    Push,
    Relay,
}

impl Pair {
    const ALL: [Pair; 4] = [Pair::Pull, Pair::LocalToLocal, Pair::Push, Pair::Relay];

    pub(super) fn setup(self) -> Setup {
        Setup {
            source: match self {
                Pair::Pull | Pair::Relay => Source::Http,
                Pair::LocalToLocal | Pair::Push => Source::Local,
            },
            destination: match self.pushes() {
                true => Destination::Http,
                false => Destination::Bare,
            },
            ..Setup::default()
        }
    }

    pub(super) fn pushes(self) -> bool {
        matches!(self, Pair::Push | Pair::Relay)
    }
}

impl Row {
    pub(super) const fn new(
        source: &'static str,
        destination: &'static str,
        expected: &'static [(&'static str, Expected)],
    ) -> Self {
        Row {
            source,
            destination,
            expected,
            globs: None,
            list_excluded: false,
            tags: TagPolicy::FastForward,
            packed: false,
            meanwhile: None,
            git: None,
        }
    }

    pub(super) fn options(&self) -> SyncOptions {
        let mut options = SyncOptions::default();
        if let Some(globs) = self.globs {
            options.globs = RefGlobs::new(Some(globs), None).expect("good globs");
        }
        options.list_excluded = self.list_excluded;
        options.tags = self.tags;
        options
    }

    #[track_caller]
    pub(super) fn check(&self) {
        let scene = Scene::new(self);
        for pair in Pair::ALL {
            // Between two local repositories nobody is told when it is time for a race.
            if self.meanwhile.is_none() || pair != Pair::LocalToLocal {
                scene.check(pair);
            }
        }
    }
}

impl Expected {
    pub(super) fn is_updated(self) -> bool {
        matches!(self, Created | Moved)
    }

    pub(super) fn is_in_step(self) -> bool {
        self.is_updated() || matches!(self, Unchanged)
    }
}
