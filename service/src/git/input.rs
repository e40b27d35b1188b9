//! The body of a request, inflated and bounded.

use std::io::Write as _;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use http_body_util::BodyExt as _;

use super::answer::Refusal;

/// The bytes that are inflated at once, which bounds the memory for what comes of them.
const PIECE: usize = 4 << 10;

/// The body of a request in parts.
pub(super) struct Input {
    body: Body,
    inflate: Option<GzDecoder<Vec<u8>>>,
    /// Compressed bytes that are not inflated yet.
    compressed: Bytes,
    left: u64,
    /// The bytes that were read and given back.
    first: Bytes,
}

impl Input {
    /// The body, of which at most `most` inflated bytes are taken.
    ///
    /// # Errors
    /// 415 for an encoding other than gzip, 413 if the body is known to be too large.
    pub(super) fn new(headers: &HeaderMap, body: Body, most: u64) -> Result<Self, Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let inflate = match text(header::CONTENT_ENCODING) {
            None | Some("identity") => None,
            Some("gzip" | "x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(_) => {
                let text = "the body may be encoded by gzip alone";
                return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
        };
        let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        Ok(Input {
            body,
            inflate,
            compressed: Bytes::new(),
            left: most,
            first: Bytes::new(),
        })
    }

    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// The body is too large, is not what its encoding says, or breaks off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        if !self.first.is_empty() {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        loop {
            let part = match &mut self.inflate {
                Some(inflate) if !self.compressed.is_empty() => {
                    let piece = self.compressed.split_to(PIECE.min(self.compressed.len()));
                    inflated(inflate, &piece)?
                }
                _ => match self.frame().await? {
                    Some(part) if self.inflate.is_some() => {
                        self.compressed = part;
                        continue;
                    }
                    Some(part) => part,
                    None => return self.rest(),
                },
            };
            let Some(part) = self.counted(part)? else {
                continue;
            };
            return Ok(Some(part));
        }
    }

    /// Reads parts until `is_enough` says so of all of their bytes, or the body ends. They are the beginning of
    /// [`next`](Input::next) still.
    pub(super) async fn read_until(
        &mut self,
        mut is_enough: impl FnMut(&[u8]) -> Result<bool, Refusal>,
    ) -> Result<Bytes, Refusal> {
        let mut read = BytesMut::new();
        while !is_enough(&read)? {
            let Some(part) = self.next().await? else {
                break;
            };
            read.extend_from_slice(&part);
        }
        let read = read.freeze();
        self.first = read.clone();
        Ok(read)
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Refusal> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame
                .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body has broken off"))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The bytes that the end of the compressed ones gives.
    fn rest(&mut self) -> Result<Option<Bytes>, Refusal> {
        let Some(mut inflate) = self.inflate.take() else {
            return Ok(None);
        };
        inflate.try_finish().map_err(|_| not_gzip())?;
        let rest = std::mem::take(inflate.get_mut()).into();
        self.counted(rest)
    }

    fn counted(&mut self, part: Bytes) -> Result<Option<Bytes>, Refusal> {
        self.left = self
            .left
            .checked_sub(part.len() as u64)
            .ok_or_else(too_large)?;
        Ok((!part.is_empty()).then_some(part))
    }
}

fn inflated(inflate: &mut GzDecoder<Vec<u8>>, piece: &[u8]) -> Result<Bytes, Refusal> {
    inflate.write_all(piece).map_err(|_| not_gzip())?;
    Ok(std::mem::take(inflate.get_mut()).into())
}

fn not_gzip() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "the body is not what gzip makes")
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(encoding: Option<&str>, body: Vec<u8>, most: u64) -> Result<Vec<u8>, StatusCode> {
        let headers =
            encoding.map(|value| (header::CONTENT_ENCODING, value.parse().expect("a value")));
        let headers = HeaderMap::from_iter(headers);
        let mut input = Input::new(&headers, Body::from(body), most).map_err(|err| err.status)?;
        input
            .read_until(|read| Ok(read.len() >= 3))
            .await
            .map_err(|err| err.status)?;
        let mut all = Vec::new();
        while let Some(part) = input.next().await.map_err(|err| err.status)? {
            all.extend_from_slice(&part);
        }
        Ok(all)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).expect("memory");
        encoder.finish().expect("memory")
    }

    #[tokio::test]
    async fn bodies_are_inflated_and_bounded() {
        let plain = b"0123456789".repeat(100_000);
        let bomb = gzip(&vec![0; 8 << 20]);
        assert!(bomb.len() < 1 << 20);
        let cut = gzip(&plain)[..500].to_vec();
        for (encoding, body, most, answer) in [
            (None, plain.clone(), 1_000_000, Ok(plain.clone())),
            (
                None,
                plain.clone(),
                999_999,
                Err(StatusCode::PAYLOAD_TOO_LARGE),
            ),
            (Some("gzip"), gzip(&plain), 1_000_000, Ok(plain.clone())),
            (Some("x-gzip"), gzip(b""), 0, Ok(Vec::new())),
            (
                Some("gzip"),
                bomb,
                1 << 20,
                Err(StatusCode::PAYLOAD_TOO_LARGE),
            ),
            (
                Some("gzip"),
                plain.clone(),
                1_000_000,
                Err(StatusCode::BAD_REQUEST),
            ),
            (Some("gzip"), cut, 1_000_000, Err(StatusCode::BAD_REQUEST)),
            (
                Some("br"),
                plain.clone(),
                1_000_000,
                Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ),
        ] {
            let found = read(encoding, body, most).await;
            assert!(
                found == answer,
                "{encoding:?} {most}: {:?}",
                found.map(|body| body.len())
            );
        }
    }
}
