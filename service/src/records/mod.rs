//! The records of the service and the rules that they follow: plain data and pure functions, without SQL,
//! without async and without a clock. A service with its own database can take these alone
//! (`default-features = false`).

mod branch;
mod capped_stats;
mod change;
mod delivery;
mod event;
mod globs;
mod health;
mod hook;
mod id;
mod key;
mod name;
mod repo;
mod retry;
mod schedule;
mod sync_run;
mod target;
mod time;
mod transition;
mod upstream;

pub use branch::is_branch_name;
pub use capped_stats::{CappedStats, Counts};
pub use change::Change;
pub use delivery::{Delivery, DeliveryState, next_delivery};
pub use event::{
    Event, EventRepo, EventType, PushCounts, PushData, PushUpdate, Reconciliation, RefAction,
};
pub use globs::Globs;
pub use health::{Health, HealthState};
pub use hook::Provider;
pub use id::{DeliveryId, EventId, HookId, InvalidId, KeyId, OrgId, RepoId, SyncId, TargetId};
pub use key::{Key, Org, Scope, covers};
pub use name::{InvalidName, Name};
pub use repo::{EMPTY_CHANGE_ID, Repo, change_id};
pub use retry::{Next, RetryPolicy};
pub use schedule::Schedule;
pub use sync_run::{Direction, Priority, Status, SyncRun};
pub use target::{Target, name_asked_for};
pub use time::Time;
pub use transition::{Action, State};
pub use upstream::{Auth, AuthKind, Upstream, UpstreamChange};
