//! Threads that end before their caller goes on, and values that threads share.

use std::{
    iter, panic,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// The results of `work` for each of `inputs`, in that order. Each input has a thread of its own, the first
/// one the calling thread.
///
/// # Errors
/// The first error in the order of the inputs. All threads have ended by then.
pub(crate) fn run_workers<I: Send, T: Send, E: Send>(
    inputs: impl IntoIterator<Item = I>,
    work: impl Fn(I) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut inputs = inputs.into_iter();
    let Some(first) = inputs.next() else {
        return Ok(Vec::new());
    };
    thread::scope(|scope| {
        let work = &work;
        let helpers: Vec<_> = inputs
            .map(|input| scope.spawn(move || work(input)))
            .collect();
        let first = work(first);
        let join = |helper: thread::ScopedJoinHandle<'_, Result<T, E>>| {
            let result = helper.join();
            result.unwrap_or_else(|panic| panic::resume_unwind(panic))
        };
        // Every thread is joined before an error is returned.
        let helped: Vec<_> = helpers.into_iter().map(join).collect();
        iter::once(first).chain(helped).collect()
    })
}

/// The value behind a mutex, whether or not a thread has panicked while it held it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a mutex that no thread shares any more, whether or not one has panicked while it held it.
pub(crate) fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The number of threads that this machine runs at a time.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_the_inputs_and_the_first_error_wins() {
        for count in 0..4 {
            let squares = run_workers(0..count, |number: u32| Ok::<_, u32>(number * number));
            assert_eq!(
                squares,
                Ok((0..count).map(|number| number * number).collect())
            );
        }
        let fail_from = |least| {
            run_workers(0..4, move |number: u32| {
                if number >= least {
                    Err(number)
                } else {
                    Ok(number)
                }
            })
        };
        assert_eq!(fail_from(2), Err(2));
        assert_eq!(fail_from(0), Err(0));
    }
}
