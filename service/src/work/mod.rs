//! The work on the runs: workers claim them, let the engine sync, and write their ends. Beside them run the reaper of
//! lost leases, retention, and the upkeep of repositories with many packs.

mod attempt;
mod decisions;
mod engine;
mod folders;
mod heads;
mod journal;
mod lease;
mod maintenance;
mod scrub;
mod task;
mod upkeep;
mod workers;

pub use engine::Refsync;
pub use folders::{PushInProgress, RepoFolders, RepoLock};
pub(crate) use heads::settle_head;
pub use task::{Engine, Report, Task};
pub use workers::{Workers, start, start_with};
