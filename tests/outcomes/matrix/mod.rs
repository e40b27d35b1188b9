//! Situations that every pair of ends meets, a row each: the refs of both ends, and what becomes of
//! those of the source. Git, which fetches and pushes between copies of the same repositories, has to say
//! the same of each ref, but for the tags: it never moves one.

mod branches;
mod names;
mod objects;
mod races;
mod row;
mod scene;
mod tags;
mod template;

/// A test for each row: `name { source => destination; ref: expected, ..; field: value, .. }`.
///
/// A repository is a list of `ref=object` and `ref->target`, the refs without `refs/heads/` and those of tags
/// without `refs/`. `+object` is there without a ref. All refs of the source are to be expected, but for
/// `bystander`, which every run creates beside them.
macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident {
        $source:literal => $destination:literal;
        $($ref:literal: $expected:expr),* $(,)?
        $(; $($field:ident: $value:expr),+ $(,)?)?
    })*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            let row = Row {
                $($($field: $value,)+)?
                ..Row::new($source, $destination, &[$(($ref, $expected)),*])
            };
            row.check();
        }
    )* };
}
use outcomes;
