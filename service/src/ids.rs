//! New identifiers, which sort by the time of their making.

use crate::records::{DeliveryId, EventId, HookId, KeyId, OrgId, RepoId, SyncId, TargetId};

/// A kind of identifier that can be made from 128 bits.
pub trait Id {
    /// The identifier with these bits.
    fn of_bits(bits: u128) -> Self;
}

macro_rules! ids {
    ($($id:ident),*) => { $(impl Id for $id {
        fn of_bits(bits: u128) -> Self {
            $id::from_bits(bits)
        }
    })* };
}

ids!(
    DeliveryId, EventId, HookId, KeyId, OrgId, RepoId, SyncId, TargetId
);

/// A new identifier: a UUID of version 7, so it is larger than those that this process has made before.
pub fn new<T: Id>() -> T {
    T::of_bits(uuid::Uuid::now_v7().as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ids_are_larger() {
        let ids: Vec<SyncId> = (0..1_000).map(|_| new()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
