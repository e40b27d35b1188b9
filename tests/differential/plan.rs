//! The plan of a pair of repositories: small, printable, and shrunk by proptest.

use crate::support::ObjectFormat;
use proptest::collection::vec;
use proptest::prelude::*;

/// Both ends, and what is asked of the run between them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) format: ObjectFormat,
    pub(crate) dates: Dates,
    pub(crate) commits: Vec<CommitPlan>,
    pub(crate) refs: Vec<RefPlan>,
    pub(crate) symbolic: Symbolic,
    /// So many refs are new that they are created together.
    pub(crate) crowd: bool,
    pub(crate) source_objects: Packing,
    pub(crate) destination: DestinationPlan,
    pub(crate) immutable_tags: bool,
    pub(crate) dry_run_first: bool,
    /// Whether the second run is told of the first one.
    pub(crate) remembers: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Dates {
    Forward,
    Equal,
    Backwards,
    /// As each commit says.
    Skewed,
}

#[derive(Clone, Debug)]
pub(crate) struct CommitPlan {
    /// The distances to the parents, 0 for the commit just before; a root if empty.
    pub(crate) parents: Vec<u8>,
    pub(crate) date: u64,
    /// The changes of paths; see `history::PATHS`.
    pub(crate) changes: Vec<(u8, u8)>,
}

#[derive(Clone, Debug)]
pub(crate) struct RefPlan {
    pub(crate) name: &'static str,
    pub(crate) ends: Ends,
    pub(crate) source_packed: bool,
    pub(crate) held: HeldIn,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    Equal(Tip),
    SourceOnly(Tip),
    DestinationOnly(Tip),
    /// The commit at the source, and so many first-parent steps before it at the destination.
    SourceAhead(u8, u8),
    DestinationAhead(u8, u8),
    Both(Tip, Tip),
}

/// A commit, by number, and what of it is pointed to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip(pub u8, pub Target);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Commit,
    Tree,
    Blob,
    /// That many annotated tags, one about the other.
    Tags {
        about: Tagged,
        deep: u8,
        message: u8,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Tagged {
    Commit,
    Tree,
    Blob,
}

/// The place where the destination keeps a ref.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeldIn {
    Loose,
    Packed,
    /// Loose, and an outdated one of that name is packed.
    Both,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Symbolic {
    No,
    /// The source has a symbolic ref to this commit, the destination perhaps a plain one.
    AtSource(u8, Option<u8>),
    /// The destination has one, to this commit or to a branch that isn't born yet.
    AtDestination(u8, Option<u8>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    Loose,
    Packed,
    HalfPacked,
    TwoPacks,
}

#[derive(Clone, Debug)]
pub(crate) struct DestinationPlan {
    pub(crate) objects: Packing,
    pub(crate) graph: Graph,
    pub(crate) alternate: Option<AlternatePlan>,
    pub(crate) debris: Vec<DebrisPlan>,
    /// Empty directories where the source has a ref: what a deleted `a/b` leaves of `a`.
    pub(crate) hollow: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Graph {
    None,
    Whole {
        generation_version: u8,
    },
    Split {
        generation_version: u8,
    },
    /// It knows commits of the source that aren't here.
    Stale,
}

/// Another store with all that is behind a commit, and perhaps a ref to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlternatePlan {
    pub(crate) commit: u8,
    pub(crate) has_ref: bool,
}

/// Objects behind one of the source's refs that lie in the destination without a ref to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DebrisPlan {
    pub(crate) of_ref: u8,
    pub(crate) kept: Kept,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    All,
    AllBut(u8),
    TipOnly,
    Some(u64),
}

/// The subject of a family of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    History,
    Tags,
    Names,
    Debris,
}

const BRANCHES: &[&str] = &[
    "refs/heads/main",
    "refs/heads/dev",
    "refs/heads/a-b",
    "refs/heads/release/1",
    "refs/heads/release/2",
    "refs/heads/Main",
    "refs/heads/\u{fc}",
    "refs/heads/x1",
    "refs/heads/x2",
    "refs/heads/x3",
];

const TAGS: &[&str] = &[
    "refs/tags/v1",
    "refs/tags/v2",
    "refs/tags/v3",
    "refs/tags/v1-rc",
    "refs/tags/main",
    "refs/tags/nightly/1",
    "refs/tags/nightly/2",
    "refs/tags/x1",
];

/// Any two of them may be in each other's way.
const NESTED: &[&str] = &[
    "refs/heads/a",
    "refs/heads/a/b",
    "refs/heads/a/b/c",
    "refs/heads/a/d",
    "refs/heads/b",
    "refs/heads/b/b",
    "refs/heads/b/c/d",
    "refs/tags/a",
    "refs/tags/a/b",
    "refs/tags/a/b/c",
    "refs/tags/b",
    "refs/tags/b/c",
];

pub(crate) fn pairs(focus: Focus) -> impl Strategy<Value = Plan> {
    let commits = match focus {
        Focus::History => 1..40_usize,
        _ => 1..16,
    };
    let history = (dates(), vec(commit(), commits));
    let refs = (
        vec(a_ref(focus), 0..14),
        symbolic(focus),
        prop::bool::weighted(1.0 / 24.0),
    );
    let ends = (format(), packing(), destination(focus));
    let run = (any::<bool>(), prop::bool::weighted(0.125), any::<bool>());
    (history, refs, ends, run).prop_map(|(history, refs, ends, run)| Plan {
        format: ends.0,
        dates: history.0,
        commits: history.1,
        refs: refs.0,
        symbolic: refs.1,
        crowd: refs.2,
        source_objects: ends.1,
        destination: ends.2,
        immutable_tags: run.0,
        dry_run_first: run.1,
        remembers: run.2,
    })
}

fn format() -> impl Strategy<Value = ObjectFormat> {
    prop_oneof![
        7 => Just(ObjectFormat::Sha1),
        1 => Just(ObjectFormat::Sha256),
    ]
}

fn dates() -> impl Strategy<Value = Dates> {
    prop_oneof![
        Just(Dates::Forward),
        Just(Dates::Equal),
        Just(Dates::Backwards),
        Just(Dates::Skewed),
    ]
}

fn commit() -> impl Strategy<Value = CommitPlan> {
    let parents = prop_oneof![
        6 => Just(std::vec![0]),
        4 => vec(0..5_u8, 1),
        4 => vec(0..6_u8, 2),
        1 => vec(0..9_u8, 3..6),
        1 => Just(Vec::new()),
    ];
    // The commit-graph file has 34 bits for a date.
    let date = prop_oneof![0..4_u64, 1_000_000_000..1_000_000_100_u64, 0..(1_u64 << 34)];
    (parents, date, vec((0..12_u8, 0..8_u8), 0..3)).prop_map(|(parents, date, changes)| {
        CommitPlan {
            parents,
            date,
            changes,
        }
    })
}

fn a_ref(focus: Focus) -> impl Strategy<Value = RefPlan> {
    let (branches, tags, nested) = match focus {
        Focus::History => (8, 1, 1),
        Focus::Tags => (1, 8, 1),
        Focus::Names => (1, 1, 6),
        Focus::Debris => (4, 2, 1),
    };
    let name = prop_oneof![
        branches => prop::sample::select(BRANCHES),
        tags => prop::sample::select(TAGS),
        nested => prop::sample::select(NESTED),
    ];
    let ends = |name: &'static str| (Just(name), ends(name.starts_with("refs/tags/")));
    let held = prop_oneof![
        3 => Just(HeldIn::Loose),
        3 => Just(HeldIn::Packed),
        1 => Just(HeldIn::Both),
    ];
    (name.prop_flat_map(ends), any::<bool>(), held).prop_map(
        |((name, ends), source_packed, held)| RefPlan {
            name,
            ends,
            source_packed,
            held,
        },
    )
}

fn ends(is_tag: bool) -> impl Strategy<Value = Ends> {
    prop_oneof![
        2 => tip(is_tag).prop_map(Ends::Equal),
        3 => tip(is_tag).prop_map(Ends::SourceOnly),
        2 => tip(is_tag).prop_map(Ends::DestinationOnly),
        3 => (any::<u8>(), 1..6_u8).prop_map(|(at, steps)| Ends::SourceAhead(at, steps)),
        2 => (any::<u8>(), 1..6_u8).prop_map(|(at, steps)| Ends::DestinationAhead(at, steps)),
        6 => (tip(is_tag), tip(is_tag)).prop_map(|(source, destination)| {
            Ends::Both(source, destination)
        }),
    ]
}

fn tip(is_tag: bool) -> impl Strategy<Value = Tip> {
    let (commit, other) = if is_tag { (4, 3) } else { (40, 1) };
    let about = prop_oneof![
        3 => Just(Tagged::Commit),
        1 => Just(Tagged::Tree),
        1 => Just(Tagged::Blob),
    ];
    let tags = (about, 1..4_u8, 0..2_u8).prop_map(|(about, deep, message)| Target::Tags {
        about,
        deep,
        message,
    });
    let other_target = prop_oneof![Just(Target::Tree), Just(Target::Blob), tags];
    let target = prop_oneof![commit => Just(Target::Commit), other => other_target];
    (any::<u8>(), target).prop_map(|(commit, target)| Tip(commit, target))
}

fn symbolic(focus: Focus) -> impl Strategy<Value = Symbolic> {
    let (none, some) = if focus == Focus::Names {
        (3, 1)
    } else {
        (40, 1)
    };
    let at_source = (any::<u8>(), any::<Option<u8>>());
    let at_destination = (any::<u8>(), any::<Option<u8>>());
    prop_oneof![
        2 * none => Just(Symbolic::No),
        some => at_source.prop_map(|(tip, held)| Symbolic::AtSource(tip, held)),
        some => at_destination.prop_map(|(tip, held)| Symbolic::AtDestination(tip, held)),
    ]
}

fn packing() -> impl Strategy<Value = Packing> {
    prop_oneof![
        3 => Just(Packing::Loose),
        2 => Just(Packing::Packed),
        1 => Just(Packing::HalfPacked),
        1 => Just(Packing::TwoPacks),
    ]
}

fn destination(focus: Focus) -> impl Strategy<Value = DestinationPlan> {
    let alternate = (any::<u8>(), any::<bool>())
        .prop_map(|(commit, has_ref)| AlternatePlan { commit, has_ref });
    let (alternates, debris) = match focus {
        Focus::Debris => (0.25, 0..4_usize),
        _ => (0.06, 0..1),
    };
    let hollow = prop::bool::weighted(if focus == Focus::Names { 0.3 } else { 0.02 });
    let alternate = prop::option::weighted(alternates, alternate);
    (
        packing(),
        graph(focus),
        alternate,
        vec(a_debris(), debris),
        hollow,
    )
        .prop_map(
            |(objects, graph, alternate, debris, hollow)| DestinationPlan {
                objects,
                graph,
                alternate,
                debris,
                hollow,
            },
        )
}

fn graph(focus: Focus) -> impl Strategy<Value = Graph> {
    let some = if focus == Focus::Names { 0 } else { 1 };
    prop_oneof![
        4 => Just(Graph::None),
        2 * some => (1..=2_u8).prop_map(|generation_version| Graph::Whole { generation_version }),
        some => (1..=2_u8).prop_map(|generation_version| Graph::Split { generation_version }),
        some => Just(Graph::Stale),
    ]
}

fn a_debris() -> impl Strategy<Value = DebrisPlan> {
    let mostly = (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Kept::Some(a | b));
    let kept = prop_oneof![
        3 => Just(Kept::All),
        3 => any::<u8>().prop_map(Kept::AllBut),
        1 => Just(Kept::TipOnly),
        3 => mostly,
        1 => any::<u64>().prop_map(Kept::Some),
    ];
    (any::<u8>(), kept).prop_map(|(of_ref, kept)| DebrisPlan { of_ref, kept })
}
