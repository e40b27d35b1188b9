//! Listing the refs of both ends, limited to the prefixes that the options can select.

use std::{panic::resume_unwind, thread};

use bstr::{BString, ByteSlice as _};

use super::plan;
use crate::{
    Error, ErrorKind, Phase, RefGlobs, RefList, RefSource, Service, SyncContext, SyncOptions,
    refs::{self, Namespace},
};

/// The refs of the two ends.
pub(super) struct Listed {
    /// The selected refs of the source.
    pub(super) source: RefList,
    pub(super) destination: RefList,
    /// Whether `destination` was listed through upload-pack rather than receive-pack.
    pub(super) is_for_fetch: bool,
}

/// Lists the refs of both ends.
pub(super) fn list(
    (source, destination): (&dyn RefSource, &dyn RefSource),
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<Listed, Error> {
    let _span = tracing::debug_span!("list").entered();
    context.advance(Phase::List, 0, None);
    // Both ends at the same time, because one of them usually waits for a network.
    let span = tracing::Span::current();
    let (of_destination, of_source) = thread::scope(|scope| {
        let of_destination = scope.spawn(|| {
            let _entered = span.enter();
            list_destination(destination, options, context)
        });
        let of_source = source.list(
            Service::UploadPack,
            &prefixes(options, RefGlobs::prefixes),
            context,
        );
        let of_destination = of_destination.join();
        let of_destination = of_destination.unwrap_or_else(|panic| resume_unwind(panic));
        (of_destination, of_source)
    });
    let ((destination, is_for_fetch), mut source) = (of_destination?, of_source?);
    context.check()?;
    let count = source.len() as u64;
    context.advance(Phase::List, count, Some(count));
    check_formats(&source, &destination)?;
    let is_branch = |name: &BString| refs::is_branch(name.as_bstr());
    source.default_branch = source.default_branch.filter(is_branch);
    plan::select(&mut source, options);
    Ok(Listed {
        source,
        destination,
        is_for_fetch,
    })
}

/// Lists the refs of the destination, and returns whether it did so through upload-pack.
fn list_destination(
    destination: &dyn RefSource,
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<(RefList, bool), Error> {
    if !options.dry_run {
        destination.sweep();
    }
    let prefixes = prefixes(options, RefGlobs::prefixes_with_parents);
    if !options.expects_changes
        && let Some(list) = destination.list_for_fetch(&prefixes, context)?
    {
        return Ok((list, true));
    }
    let list = destination.list(Service::ReceivePack, &prefixes, context)?;
    Ok((list, false))
}

impl Listed {
    /// Lists the destination again, through receive-pack.
    pub(super) fn list_for_push(
        &mut self,
        destination: &dyn RefSource,
        options: &SyncOptions,
        context: &SyncContext,
    ) -> Result<(), Error> {
        let prefixes = prefixes(options, RefGlobs::prefixes_with_parents);
        self.destination = destination.list(Service::ReceivePack, &prefixes, context)?;
        self.is_for_fetch = false;
        check_formats(&self.source, &self.destination)
    }
}

/// Lists the selected refs of the destination again, through receive-pack: the run has moved some of them.
pub(super) fn list_again(
    destination: &dyn RefSource,
    options: &SyncOptions,
    context: &SyncContext,
) -> Result<RefList, Error> {
    destination.list(Service::ReceivePack, &options.globs.prefixes(), context)
}

/// The prefixes to list: `of_globs`, or all of both namespaces if excluded refs are listed, too.
fn prefixes(options: &SyncOptions, of_globs: fn(&RefGlobs) -> Vec<BString>) -> Vec<BString> {
    if options.list_excluded {
        Namespace::ALL.map(|all| all.prefix().into()).into()
    } else {
        of_globs(&options.globs)
    }
}

fn check_formats(source: &RefList, destination: &RefList) -> Result<(), Error> {
    let (from, to) = (source.object_format, destination.object_format);
    if from == to {
        return Ok(());
    }
    let text = format!("the source uses {from}, the destination {to}");
    Err(Error::new(ErrorKind::ObjectFormatMismatch, text))
}
