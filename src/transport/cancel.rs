use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::Error;

/// Where a client looks up whether its run was cancelled.
///
/// Connections outlive a run and the flag of a run doesn't, so this is a place for a flag rather
/// than the flag itself. Clones share the place.
#[derive(Debug, Clone, Default)]
pub(crate) struct CancelFlag(Arc<Mutex<Option<Arc<AtomicBool>>>>);

impl CancelFlag {
    /// From now on `flag` is the one to look at; with `None`, nothing cancels.
    pub(crate) fn set(&self, flag: Option<Arc<AtomicBool>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = flag;
    }

    /// An error of kind [`Cancelled`](crate::ErrorKind::Cancelled) once the current flag is raised.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let flag = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*flag {
            Some(flag) if flag.load(Ordering::Relaxed) => Err(Error::cancelled()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_flag_takes_the_place_of_a_raised_one() {
        let place = CancelFlag::default();
        let seen_by_a_connection = place.clone();
        assert!(seen_by_a_connection.check().is_ok());

        place.set(Some(Arc::new(AtomicBool::new(true))));
        assert!(seen_by_a_connection.check().is_err());

        place.set(Some(Arc::new(AtomicBool::new(false))));
        assert!(seen_by_a_connection.check().is_ok());
    }
}
