//! The commands of a client to git's receive-pack, and the capabilities that it requests
//! (gitprotocol-pack(5), "Pushing Data To a Server").

use gix_transport::packetline::blocking_io::encode;

use super::pkt_line::MAX_DATA_LEN;
use crate::{
    Error, ErrorKind, Namespace, ObjectFormat, ObjectId, RefUpdate, refs::table::RefTable,
};

/// The capabilities of receive-pack that a server advertises and a push makes use of
/// (gitprotocol-capabilities(5)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// In which words it reports what became of each ref; not at all if it is from before 2006.
    pub(crate) report: Option<ReportStatus>,
    pub(crate) side_band: bool,
    /// Whether a delta may name its base by where that is in the pack.
    pub(crate) ofs_delta: bool,
    /// Whether a delta's base may be missing from the pack.
    pub(crate) thin_pack: bool,
    quiet: bool,
    object_format: bool,
    agent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportStatus {
    V1,
    V2,
}

impl Capabilities {
    /// Those of a server that offers what `offers` says that it does.
    pub(crate) fn of(offers: impl Fn(&str) -> bool) -> Self {
        let report = if offers("report-status-v2") {
            Some(ReportStatus::V2)
        } else {
            offers("report-status").then_some(ReportStatus::V1)
        };
        Capabilities {
            report,
            side_band: offers("side-band-64k"),
            ofs_delta: offers("ofs-delta"),
            thin_pack: !offers("no-thin"),
            quiet: offers("quiet"),
            object_format: offers("object-format"),
            agent: offers("agent"),
        }
    }

    /// The capabilities that are requested: never one that wasn't advertised.
    fn requested(&self, format: ObjectFormat, agent: &str) -> String {
        let report = self.report.map(|report| match report {
            ReportStatus::V1 => "report-status".to_owned(),
            ReportStatus::V2 => "report-status-v2".to_owned(),
        });
        let wanted = [
            report,
            self.side_band.then(|| "side-band-64k".to_owned()),
            self.quiet.then(|| "quiet".to_owned()),
            self.object_format
                .then(|| format!("object-format={format}")),
            self.agent.then(|| format!("agent={agent}")),
        ];
        wanted.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// The commands up to the pack. The server moves a ref only from the tip that is expected, so each
/// is a compare-and-swap.
pub(crate) fn commands(
    updates: &[RefUpdate],
    capabilities: &Capabilities,
    format: ObjectFormat,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut request = Vec::new();
    let mut separator = format!("\0{}", capabilities.requested(format, agent));
    for update in updates {
        let none = ObjectId::null(format);
        let old = update.expected.unwrap_or(none);
        let mut line = format!("{old} {} ", update.new).into_bytes();
        line.extend_from_slice(update.name);
        line.extend_from_slice(separator.as_bytes());
        separator.clear();
        encode::data_to_write(&line, &mut request).map_err(|err| {
            let text = "the name of a ref is too long for Git's protocol";
            Error::new(ErrorKind::Unsupported, text).with_source(err)
        })?;
    }
    request.extend_from_slice(FLUSH);
    Ok(request)
}

/// The longest name of a ref that fits into a command, whatever the server is asked for in the same
/// packet.
pub(crate) fn longest_name(format: ObjectFormat, agent: &str) -> usize {
    let ids = 2 * (format.hash_kind().len_in_hex() + " ".len());
    let requested = Capabilities::of(|_| true).requested(format, agent);
    MAX_DATA_LEN - ids - "\0".len() - requested.len()
}

/// Ends a list of packets.
pub(crate) const FLUSH: &[u8] = b"0000";

/// Splits what a server lists into the refs that take part in a sync, and what else it has with
/// everything behind it: the tips of its other refs, and those of repositories that it borrows
/// objects from, which it lists under the name `.have`.
pub(crate) fn split_haves(mut refs: RefTable) -> (RefTable, Vec<ObjectId>) {
    let mut haves = Vec::new();
    refs.retain(|listed| {
        let is_ours = Namespace::split(listed.name).is_some();
        if !is_ours && !listed.target.is_null() {
            haves.push(listed.target);
        }
        is_ours
    });
    haves.sort_unstable();
    haves.dedup();
    (refs, haves)
}

#[cfg(test)]
mod tests {
    use bstr::ByteSlice;
    use gix_transport::packetline::{PacketLineRef, blocking_io::StreamingPeekableIter};

    use super::*;
    use crate::{AdvertisedRef, protocol::ref_line::V0Lines};

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const NULL: &str = "0000000000000000000000000000000000000000";

    fn id(hex: &str) -> ObjectId {
        ObjectId::from_hex(hex.as_bytes()).expect("hex")
    }

    fn offered(words: &str) -> Capabilities {
        Capabilities::of(|name| {
            let mut names = words.split(' ').filter_map(|word| word.split('=').next());
            names.any(|word| word == name)
        })
    }

    #[test]
    fn only_what_was_offered_is_asked_for() {
        let table = [
            ("", ""),
            ("report-status delete-refs atomic shiny=1", "report-status"),
            ("report-status report-status-v2", "report-status-v2"),
            (
                "report-status side-band-64k quiet object-format=sha1 agent=git/2.47.3 ofs-delta",
                "report-status side-band-64k quiet object-format=sha1 agent=me/1",
            ),
            ("side-band", ""),
        ];
        for (words, expected) in table {
            let requested = offered(words).requested(ObjectFormat::Sha1, "me/1");
            assert_eq!(requested, expected, "{words}");
        }
    }

    #[test]
    fn what_a_pack_may_have() {
        let features = |words| {
            let capabilities = offered(words);
            (capabilities.thin_pack, capabilities.ofs_delta)
        };
        assert_eq!(features("report-status"), (true, false));
        assert_eq!(features("ofs-delta no-thin"), (false, true));
    }

    #[test]
    fn commands_are_compare_and_swap() {
        let updates = [
            RefUpdate {
                name: "refs/heads/new".into(),
                expected: None,
                new: id(A),
            },
            RefUpdate {
                name: "refs/heads/main".into(),
                expected: Some(id(A)),
                new: id(B),
            },
        ];
        let request = |words| {
            let commands = commands(&updates, &offered(words), ObjectFormat::Sha1, "me/1");
            String::from_utf8(commands.expect("names of ordinary length")).expect("ASCII")
        };
        assert_eq!(
            request("report-status agent"),
            format!(
                "007d{NULL} {A} refs/heads/new\0report-status agent=me/1\
                 0065{A} {B} refs/heads/main0000"
            )
        );
        assert_eq!(
            request(""),
            format!("0065{NULL} {A} refs/heads/new\x000065{A} {B} refs/heads/main0000")
        );
    }

    #[test]
    fn the_longest_name_fits_beside_all_that_is_asked_for() {
        let all = offered("report-status-v2 side-band-64k quiet object-format agent");
        let request = |length| {
            let name = vec![b'x'; length];
            let update = RefUpdate {
                name: name.as_bstr(),
                expected: None,
                new: id(A),
            };
            commands(&[update], &all, ObjectFormat::Sha1, "me/1")
        };
        let longest = longest_name(ObjectFormat::Sha1, "me/1");
        assert!(request(longest).is_ok());
        assert!(request(longest + 1).is_err());
    }

    #[test]
    fn a_name_that_fits_into_no_packet_is_an_error() {
        let name = vec![b'x'; 70_000];
        let update = RefUpdate {
            name: name.as_bstr(),
            expected: None,
            new: id(A),
        };
        let err = commands(&[update], &offered(""), ObjectFormat::Sha1, "me/1");
        assert_eq!(err.expect_err("too long").kind(), ErrorKind::Unsupported);
    }

    /// The bytes that real git sends: see `fixtures/record-wire`.
    #[test]
    fn a_recorded_listing_has_capabilities_and_refs() {
        let listing = include_bytes!("../../fixtures/wire/push-listing").as_slice();
        let mut packets = StreamingPeekableIter::new(listing, &[PacketLineRef::Flush], false);
        let mut capabilities = Capabilities::default();
        let mut lines = V0Lines::default();
        while let Some(line) = packets.read_line() {
            let line = line.expect("no I/O").expect("a pkt-line");
            let line = line.as_bstr().expect("text");
            let (line, words) = line.split_once_str("\0").unwrap_or((line, b""));
            if !words.is_empty() {
                capabilities = offered(&words.to_str_lossy());
            }
            lines
                .push(line.as_bstr(), ObjectFormat::Sha1)
                .expect("a ref line");
        }
        assert_eq!(
            capabilities.requested(ObjectFormat::Sha1, "me/1"),
            "report-status-v2 side-band-64k quiet object-format=sha1 agent=me/1"
        );
        assert!(capabilities.thin_pack && capabilities.ofs_delta);
        let (refs, haves) = split_haves(lines.refs);
        assert_eq!((refs.len(), haves.len()), (5, 0));
    }

    #[test]
    fn what_is_no_branch_or_tag_is_a_have() {
        let listed = |name: &'static str, hex: &str| AdvertisedRef {
            name: name.into(),
            target: id(hex),
            annotated: false,
            symbolic: false,
        };
        let main = listed("refs/heads/main", A);
        let (refs, haves) = split_haves(RefTable::from_iter([
            listed(".have", B),
            main,
            listed("refs/pull/1/head", A),
            listed(".have", B),
            listed("refs/notes/broken", NULL),
        ]));
        assert!(refs.iter().eq([main]));
        assert_eq!(haves, [id(A), id(B)]);
    }
}
