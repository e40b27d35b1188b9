//! Stats as they are stored: a capped form for lists, and a compressed one of all refs.

use std::io::{Cursor, Read as _, Write as _};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use refsync::SyncRunStats;

use crate::{Error, ErrorKind, records::CappedStats, store::cells};

/// The number of refs from which stats are packed and unpacked on a thread for blocking work.
const MANY: usize = 1_000;

/// Stats to store.
pub(super) struct Packed {
    /// The JSON with at most [`CappedStats::IN_LISTS`] refs.
    pub(super) capped: String,
    /// The compressed JSON with all refs, if the capped form does not have them.
    pub(super) full: Option<Vec<u8>>,
    /// The SHA-256 of the JSON with all refs.
    pub(super) digest: Vec<u8>,
    /// The JSON with the number of refs that an event may have.
    pub(super) in_events: String,
}

/// The stored form of `stats`.
pub(super) async fn pack(stats: SyncRunStats) -> Result<Packed, Error> {
    if stats.refs.len() < MANY {
        return packed(&stats);
    }
    blocking(move || packed(&stats)).await
}

fn packed(stats: &SyncRunStats) -> Result<Packed, Error> {
    let json = |most| cells::to_json(&CappedStats::of(stats, most));
    let all = json(usize::MAX)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, all.as_bytes());
    let digest = digest.as_ref().to_vec();
    let in_events = if stats.refs.len() <= CappedStats::IN_EVENTS {
        all.clone()
    } else {
        json(CappedStats::IN_EVENTS)?
    };
    let (capped, full) = if stats.refs.len() <= CappedStats::IN_LISTS {
        (all, None)
    } else {
        (
            json(CappedStats::IN_LISTS)?,
            Some(compress(all.as_bytes())?),
        )
    };
    Ok(Packed {
        capped,
        full,
        digest,
        in_events,
    })
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let failed =
        |err| Error::new(ErrorKind::Database, "the stats cannot be compressed").because(err);
    let mut to = ZlibEncoder::new(Vec::new(), Compression::fast());
    to.write_all(bytes).map_err(failed)?;
    to.finish().map_err(failed)
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    let mut from = ZlibDecoder::new(bytes);
    from.read_to_end(&mut all).map_err(damaged)?;
    Ok(all)
}

fn damaged(err: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::DatabaseCorrupt, "the stored stats are damaged").because(err)
}

/// The JSON of a run's stats with all refs, piece by piece: 50,000 refs are 11 MB, and only their compressed form is in
/// memory. It ends with an error where the stored form is damaged.
pub struct StatsJson(Form);

enum Form {
    Plain(Option<Vec<u8>>),
    Compressed(ZlibDecoder<Cursor<Vec<u8>>>),
}

/// The bytes of a piece.
const PIECE: u64 = 64 << 10;

impl StatsJson {
    /// The stats of the two stored forms, if there are any.
    pub(super) fn of(capped: Option<String>, full: Option<Vec<u8>>) -> Option<Self> {
        let compressed = |full| Form::Compressed(ZlibDecoder::new(Cursor::new(full)));
        let plain = |text: String| Form::Plain(Some(text.into_bytes()));
        full.map(compressed)
            .or_else(|| capped.map(plain))
            .map(StatsJson)
    }

    /// The number of bytes, where it is known before the last one.
    pub fn known_length(&self) -> Option<u64> {
        match &self.0 {
            Form::Plain(text) => Some(text.as_ref().map_or(0, |text| text.len() as u64)),
            Form::Compressed(_) => None,
        }
    }
}

impl Iterator for StatsJson {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = match &mut self.0 {
            Form::Plain(text) => return text.take().map(Ok),
            Form::Compressed(from) => from,
        };
        let mut piece = Vec::new();
        match from.take(PIECE).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(Ok(piece)),
            Err(err) => {
                self.0 = Form::Plain(None);
                Some(Err(damaged(err)))
            }
        }
    }
}

impl std::fmt::Debug for StatsJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatsJson")
    }
}

/// The stats, of the two stored forms.
pub(super) async fn read(
    capped: Option<String>,
    full: Option<Vec<u8>>,
) -> Result<Option<SyncRunStats>, Error> {
    let Some(full) = full else {
        return cells::of_optional(capped.as_deref());
    };
    let parsed = move || serde_json::from_slice(&decompress(&full)?).map_err(damaged);
    blocking(parsed).await.map(Some)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let ended =
        |err| Error::new(ErrorKind::Database, "the work on stats was not done").because(err);
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}
