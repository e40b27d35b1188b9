//! Runs with a secret that the remote is told and that nobody else may see.
//!
//! Whatever a test is about, no log, no error and no stats of its runs have the secret in them, and
//! [`Sandbox`](super::Sandbox) searches the files once the test is over.

use super::canary::{CANARY, secrets_in};
use refsync::{
    Credentials, Error, NetworkPolicy, RefSource, SmartHttp, SyncOptions, SyncRunStats, Timeouts,
};
use std::cell::RefCell;
use std::error::Error as _;
use std::fmt::Debug;
use std::io::Write as _;
use std::sync::Once;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A machine that is busy with something else may stand still for minutes. Tests about patience set a limit of their
/// own.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Anywhere, in any network, with the secret and with patience.
#[track_caller]
pub fn remote(url: &str) -> SmartHttp {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        // A test that listens for itself has been quicker.
        let _ = tracing::subscriber::set_global_default(Listener);
        if log::set_logger(&Listener).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    });
    let mut timeouts = Timeouts::default();
    (timeouts.connect, timeouts.idle, timeouts.min_rate) = (PATIENCE, PATIENCE, 0);
    let remote = SmartHttp::new(url).expect("a good URL");
    let remote = remote
        .with_timeouts(timeouts)
        .with_network_policy(NetworkPolicy::any())
        .with_credentials(Credentials::token(CANARY));
    hear(&remote);
    remote
}

/// [`refsync::sync`], with an eye on what it answers.
#[track_caller]
pub fn sync(
    source: &dyn RefSource,
    destination: &dyn RefSource,
    options: &SyncOptions,
) -> Result<SyncRunStats, Error> {
    let result = refsync::sync(source, destination, options);
    hear(&result);
    if let Err(err) = &result {
        let mut cause = Some(err as &dyn std::error::Error);
        while let Some(err) = cause {
            hear(&err.to_string());
            cause = err.source();
        }
    }
    result
}

#[track_caller]
fn hear(said: &dyn Debug) {
    let text = format!("{said:?}");
    assert_eq!(secrets_in(text.as_bytes()), [""; 0], "{text}");
}

/// Hears all fields of all spans and events of every library, whatever their level.
struct Listener;

/// The log of one thread since the last search of it.
struct Heard<'a>(&'a mut Vec<u8>);

impl Listener {
    /// A secret could be logged in pieces, one after the other: the end of what was said is kept.
    fn hear(said: impl FnOnce(&mut Heard<'_>)) {
        thread_local!(static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
        TEXT.with_borrow_mut(|text| {
            said(&mut Heard(text));
            if !secrets_in(text).is_empty() {
                // A panic could be caught on its way.
                #[expect(clippy::print_stderr, reason = "the last thing that is done")]
                {
                    eprintln!("a secret is logged: {}", bstr::BStr::new(text));
                }
                std::process::abort();
            }
            text.drain(..text.len().saturating_sub(100));
        });
    }
}

impl Visit for Heard<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).expect("memory takes everything");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        Listener::hear(|heard| span.record(heard));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        Listener::hear(|heard| values.record(heard));
    }
    fn event(&self, event: &Event<'_>) {
        Listener::hear(|heard| event.record(heard));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl log::Log for Listener {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        // Without what stands between the lines of a dump of the wire.
        let text = text.split_once("  ").map_or(&*text, |(_, bytes)| bytes);
        Listener::hear(|heard| heard.0.extend_from_slice(text.as_bytes()));
    }
    fn flush(&self) {}
}
