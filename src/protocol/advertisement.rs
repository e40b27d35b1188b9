//! The advertisement of a server: its capabilities and, if it is older than protocol v2, all of its
//! refs (gitprotocol-v2(5), "Capability Advertisement"; gitprotocol-http(5),
//! "Smart Server Response"; gitprotocol-pack(5), "Reference Discovery").

use std::io::Read;

use bstr::{BString, ByteSlice as _};

use super::{
    capabilities::Capabilities,
    pkt_line::{HEAD_LEN, Packets},
    printable,
    ref_line::{Length, V0Lines},
    refused, unreadable,
};
use crate::{Error, ErrorKind, Limits, ObjectFormat, error::check_limit};

pub(crate) struct Advertisement {
    pub(crate) capabilities: Capabilities,
    pub(crate) format: ObjectFormat,
    /// All refs, if the server is older than v2.
    pub(crate) listed: Option<V0Lines>,
}

impl Advertisement {
    /// The target of HEAD from the capability `symref` of a server older than v2 (gitprotocol-capabilities(5)).
    pub(crate) fn head(&self) -> Option<BString> {
        let mut symbolic = self.capabilities.values("symref");
        symbolic.find_map(|named| named.strip_prefix(b"HEAD:").map(BString::from))
    }
}

/// Reads the advertisement of `service`.
pub(crate) fn read(
    from: impl Read,
    service: &str,
    limits: &Limits,
) -> Result<Advertisement, Error> {
    let mut packets = Packets::new(from);
    let mut budget = CapabilityBudget {
        limit: limits.capabilities,
        taken: 0,
    };
    let mut first = said(&mut packets, &mut budget)?;
    let announced = |first: &BString| first.strip_prefix(b"# service=").map(BString::from);
    if let Some(announced) = first.as_ref().and_then(announced) {
        if announced != service.as_bytes() {
            return Err(senseless("it is about another service"));
        }
        while said(&mut packets, &mut budget)?.is_some() {}
        first = said(&mut packets, &mut budget)?;
    } else if first.is_none() {
        return Err(senseless("it says nothing"));
    }
    let version = first
        .as_deref()
        .and_then(|first| first.strip_prefix(b"version "));
    match version {
        Some(b"2") => {
            let mut lines = BString::default();
            while let Some(line) = said(&mut packets, &mut budget)? {
                lines.extend_from_slice(&line);
                lines.push(b'\n');
            }
            let capabilities = Capabilities::of_v2(lines);
            return Ok(Advertisement {
                format: object_format(&capabilities)?,
                capabilities,
                listed: None,
            });
        }
        // v1 differs from v0 in this packet only.
        Some(b"1") => first = said(&mut packets, &mut budget)?,
        Some(_) => return Err(senseless("its protocol has an unknown version")),
        None => {}
    }
    let mut capabilities = Capabilities::default();
    let mut listed = V0Lines::default();
    let Some(first) = first else {
        return Ok(Advertisement {
            capabilities,
            format: ObjectFormat::Sha1,
            listed: Some(listed),
        });
    };
    let (line, words) = first
        .split_once_str(b"\0")
        .ok_or_else(|| senseless("it has no capabilities"))?;
    capabilities = Capabilities::of_v0(words);
    let format = object_format(&capabilities)?;
    let mut length = Length::up_to(limits);
    let mut take = |line: &[u8]| listed.take(line.as_bstr(), format, &mut length);
    take(line)?;
    while let Some(line) = packets.next().map_err(unreadable)? {
        refuses(line)?;
        take(line)?;
    }
    Ok(Advertisement {
        capabilities,
        format,
        listed: Some(listed),
    })
}

/// The bytes of an answer up to the end of its capabilities.
struct CapabilityBudget {
    limit: usize,
    taken: u64,
}

impl CapabilityBudget {
    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.taken += bytes as u64;
        let unit = "bytes of capabilities";
        check_limit("capabilities", unit, self.taken, self.limit as u64)
    }
}

/// The next line, without its line feed; `None` for a flush packet.
fn said(
    packets: &mut Packets<impl Read>,
    budget: &mut CapabilityBudget,
) -> Result<Option<BString>, Error> {
    budget.take(HEAD_LEN)?;
    let Some(line) = packets.next().map_err(unreadable)? else {
        return Ok(None);
    };
    budget.take(line.len())?;
    refuses(line)?;
    Ok(Some(line.strip_suffix(b"\n").unwrap_or(line).into()))
}

fn refuses(line: &[u8]) -> Result<(), Error> {
    line.strip_prefix(b"ERR ")
        .map_or(Ok(()), |text| Err(refused(text)))
}

/// The object format: SHA-1 unless the server advertises another one (gitprotocol-capabilities(5), "object-format").
fn object_format(capabilities: &Capabilities) -> Result<ObjectFormat, Error> {
    match capabilities.value("object-format").map(|name| &**name) {
        None | Some(b"" | b"sha1") => Ok(ObjectFormat::Sha1),
        Some(b"sha256") => Ok(ObjectFormat::Sha256),
        Some(other) => {
            let text = format!(
                "the server uses an unknown object format: {}",
                printable(other)
            );
            Err(Error::new(ErrorKind::Unsupported, text))
        }
    }
}

fn senseless(what: &str) -> Error {
    let text = format!("the server's advertisement is malformed: {what}");
    Error::new(ErrorKind::Protocol, text)
}

#[cfg(test)]
mod tests {
    use bstr::BStr;

    use super::*;

    fn packet(line: &str) -> String {
        format!("{:04x}{line}", line.len() + HEAD_LEN)
    }

    fn advertise(answer: &str) -> Result<Advertisement, Error> {
        let limits = Limits {
            capabilities: 300,
            ..Limits::default()
        };
        read(answer.as_bytes(), "git-upload-pack", &limits)
    }

    #[test]
    fn what_a_v2_server_offers() {
        let lines = [
            "version 2\n",
            "agent=git/2\n",
            "ls-refs=unborn",
            "fetch=shallow filter\n",
            "server-option\n",
            "object-format=sha256\n",
            "object-format=sha1\n",
        ];
        let said = lines.map(packet).concat() + "0000";
        let announced = format!("{}0000", packet("# service=git-upload-pack\n"));
        for said in [said.clone(), announced + &said] {
            let advertisement = advertise(&said).expect("an advertisement");
            assert!(advertisement.listed.is_none());
            assert_eq!(advertisement.format, ObjectFormat::Sha256);
            for (name, value) in [
                ("agent", Some("git/2")),
                ("ls-refs", Some("unborn")),
                ("fetch", Some("shallow filter")),
                ("server-option", Some("")),
                ("server", None),
                ("unborn", None),
                ("version 2", None),
            ] {
                let found = advertisement.capabilities.value(name);
                assert_eq!(found, value.map(BStr::new), "{name}");
                assert_eq!(
                    advertisement.capabilities.has(name),
                    value.is_some(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn what_an_older_server_offers_and_lists() {
        let id = "a".repeat(40);
        let first = packet(&format!("{id} refs/heads/main\0thin-pack agent=git/1\n"));
        let second = packet(&format!("{id} refs/heads/other\n"));
        for before in ["", &packet("version 1\n"), &packet("version 1")] {
            let advertisement =
                advertise(&format!("{before}{first}{second}0000")).expect("an advertisement");
            assert!(
                advertisement.capabilities.has("thin-pack")
                    && advertisement.capabilities.has("agent")
            );
            assert!(!advertisement.capabilities.has("thin"));
            let listed = advertisement.listed.expect("refs").refs;
            let names: Vec<_> = listed
                .iter()
                .map(|listed| listed.name.to_string())
                .collect();
            assert_eq!(names, ["refs/heads/main", "refs/heads/other"]);
        }
        let nothing = packet("# service=git-upload-pack\n") + "00000000";
        let listed = advertise(&nothing).expect("an advertisement").listed;
        assert!(listed.expect("no refs").refs.is_empty());
    }

    #[test]
    fn what_is_no_advertisement() {
        let id = "a".repeat(40);
        for (said, kind) in [
            (packet("version 3\n") + "0000", ErrorKind::Protocol),
            (packet("version 2\n"), ErrorKind::Network),
            (packet("ERR no\n"), ErrorKind::Remote),
            (
                packet("version 2\n") + &packet("ERR no\n"),
                ErrorKind::Remote,
            ),
            (
                packet(&format!("{id} refs/heads/main\n")) + "0000",
                ErrorKind::Protocol,
            ),
            (
                packet("# service=git-receive-pack\n") + "00000000",
                ErrorKind::Protocol,
            ),
            ("0000".into(), ErrorKind::Protocol),
            (
                packet("version 2\n") + &packet("object-format=md5\n") + "0000",
                ErrorKind::Unsupported,
            ),
            (
                packet("version 2\n") + &packet("x\n").repeat(50),
                ErrorKind::BudgetExceeded,
            ),
            (
                packet("# service=git-upload-pack\n") + &packet("x\n").repeat(50),
                ErrorKind::BudgetExceeded,
            ),
            (packet(&"x".repeat(297)), ErrorKind::BudgetExceeded),
        ] {
            let err = advertise(&said).err().expect(&said);
            assert_eq!(err.kind(), kind, "{said}");
        }
    }
}
