//! The commands of a client to git's receive-pack, and the capabilities that it requests
//! (gitprotocol-pack(5), "Pushing Data To a Server").

use gix_transport::packetline::blocking_io::encode;

use super::{capabilities::Capabilities, pkt_line::MAX_DATA_LEN};
use crate::{
    Error, ErrorKind, Namespace, ObjectFormat, ObjectId, PackFeatures, RefUpdate,
    refs::table::RefTable,
};

/// The capabilities that are requested at most.
const ALL_REQUESTED: &str = "report-status-v2 side-band-64k quiet object-format agent";

/// The capability of a server that reports the status of each ref; `None` for servers from before 2006.
pub(crate) fn report_status(capabilities: &Capabilities) -> Option<&'static str> {
    let words = ["report-status-v2", "report-status"];
    words.into_iter().find(|word| capabilities.has(word))
}

/// The forms of delta that the server accepts in a pack.
pub(crate) fn pack_features(capabilities: &Capabilities) -> PackFeatures {
    PackFeatures {
        thin: !capabilities.has("no-thin"),
        ofs_delta: capabilities.has("ofs-delta"),
    }
}

/// The capabilities to request: only advertised ones.
fn requested(capabilities: &Capabilities, format: ObjectFormat, agent: &str) -> String {
    let (format, agent) = (format!("object-format={format}"), format!("agent={agent}"));
    let words = [SIDE_BAND, "quiet", &format, &agent];
    let words = words.into_iter().filter(|word| capabilities.has(word));
    let words = report_status(capabilities).into_iter().chain(words);
    words.collect::<Vec<_>>().join(" ")
}

/// The capability of a server that answers in side-bands.
pub(crate) const SIDE_BAND: &str = "side-band-64k";

/// The commands of a push. The server moves a ref only if it has the expected tip, so each command is a compare-and-swap.
pub(crate) fn commands(
    updates: &[RefUpdate],
    capabilities: &Capabilities,
    format: ObjectFormat,
    agent: &str,
) -> Result<Vec<u8>, Error> {
    let mut request = Vec::new();
    let mut separator = format!("\0{}", requested(capabilities, format, agent));
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

/// The longest ref name that fits into a command together with all capabilities.
pub(crate) fn longest_name(format: ObjectFormat, agent: &str) -> usize {
    let ids = 2 * (format.hash_kind().len_in_hex() + " ".len());
    let requested = requested(&Capabilities::of_v0(ALL_REQUESTED), format, agent);
    MAX_DATA_LEN - ids - "\0".len() - requested.len()
}

/// A flush packet.
pub(crate) const FLUSH: &[u8] = b"0000";

/// Splits a server's list into branches and tags, and haves: the tips of its other refs, and those of its alternates, which
/// it lists as `.have`.
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

    fn advertised(words: &str) -> Capabilities {
        Capabilities::of_v0(words)
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
            let requested = requested(&advertised(words), ObjectFormat::Sha1, "me/1");
            assert_eq!(requested, expected, "{words}");
        }
    }

    #[test]
    fn what_a_pack_may_have() {
        let features = |words| {
            let features = pack_features(&advertised(words));
            (features.thin, features.ofs_delta)
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
            let commands = commands(&updates, &advertised(words), ObjectFormat::Sha1, "me/1");
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
        let all = advertised("report-status-v2 side-band-64k quiet object-format agent");
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
        let err = commands(&[update], &advertised(""), ObjectFormat::Sha1, "me/1");
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
                capabilities = advertised(&words.to_str_lossy());
            }
            lines
                .push(line.as_bstr(), ObjectFormat::Sha1)
                .expect("a ref line");
        }
        assert_eq!(
            requested(&capabilities, ObjectFormat::Sha1, "me/1"),
            "report-status-v2 side-band-64k quiet object-format=sha1 agent=me/1"
        );
        let features = pack_features(&capabilities);
        assert!(features.thin && features.ofs_delta);
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
