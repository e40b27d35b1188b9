//! The hook of a repository: its making, and the calls that its upstream makes.
//!
//! A call says that something changed, and starts a pull; nothing is read from its body. A burst of calls is one run:
//! each of them finds the one that is queued. A call during a run queues one more, since that run may have listed the
//! upstream's refs before; it is due some time after the last one, so that calls without a pause are not runs without one.

use axum::body::Body as Stream;
use axum::extract::{Request, State};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, created, deleted, json};
use super::body::{Body, in_time};
use super::caller::{Id, OfRepo, Write, path_value};
use super::error::ApiError;
use super::syncs;
use crate::hooks::received::Check;
use crate::records::{HookId, Provider, SyncId};
use crate::secrets::{self, api_key, webhook_secret};
use crate::store::{CalledHook, NewHook};
use crate::{Service, clock, ids};

/// The largest body of a call, in bytes. GitHub sends at most 25 MB. Nothing of it is kept in memory.
const MAX_CALL: usize = 32 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    provider: Provider,
}

#[derive(Serialize)]
struct NewHookView<'a> {
    url: &'a str,
    secret: &'a str,
}

/// POST `/{org}/{repo}/upstream/hook`: the hook that was there before ends.
pub(super) async fn create(
    State(service): State<Service>,
    of: OfRepo<Write>,
    Body(body): Body<CreateBody>,
) -> Answer {
    let id: HookId = ids::new();
    let token = secrets::hook::generate_token().map_err(crate::Error::from)?;
    // The form of Standard Webhooks, which GitLab wants of a signing token. To the others it is any text.
    let secret = webhook_secret::generate().map_err(crate::Error::from)?;
    let sealed = secrets::hook::seal(&service.sealer, &id, &secret);
    let new = NewHook {
        provider: body.provider,
        token: api_key::hash(&token),
        secret: sealed.map_err(crate::Error::from)?,
        id,
    };
    let store = of.caller.store(&service);
    if !store.put_hook(&of.repo, &new, clock::now()).await? {
        return Err(syncs::no_upstream());
    }
    let base = service.config.public_url.trim_end_matches('/');
    let url = zeroize::Zeroizing::new(format!("{base}/v1/hooks/{}/{}", new.id, *token));
    created(&NewHookView {
        url: &url,
        secret: &secret,
    })
}

/// DELETE `/{org}/{repo}/upstream/hook`
pub(super) async fn delete(State(service): State<Service>, of: OfRepo<Write>) -> Answer {
    let store = of.caller.store(&service);
    let was_there = store.delete_hook(&of.repo, clock::now()).await?;
    deleted(was_there, "hook")
}

#[derive(Serialize)]
struct CallView<'a> {
    sync_id: Option<&'a SyncId>,
}

/// POST `/hooks/{id}/{token}`, by an upstream.
pub(super) async fn receive(
    State(service): State<Service>,
    Id(id): Id<HookId>,
    Token(token): Token,
    request: Request,
) -> Answer {
    let now = clock::now();
    let by = now.plus(service.config.queue.hook_distance);
    let hook = service.store.called_hook(&id, &token, by).await?;
    let hook = hook.ok_or_else(|| ApiError::not_found("hook"))?;
    let secret = secrets::hook::open(&service.sealer, &id, &hook.secret);
    let secret = secret.map_err(crate::Error::from)?;
    let (parts, body) = request.into_parts();
    let seconds = now.0.div_euclid(1_000);
    let check = Check::of(hook.provider, &secret, &parts.headers, seconds);
    let signed = in_time(is_signed(check.ok_or_else(not_signed)?, body));
    if !signed.await? {
        return Err(not_signed());
    }
    let event = parts.headers.get(hook.provider.event_header());
    let event = event.map(|name| name.to_str().unwrap_or_default());
    let run = if hook.provider.may_move_refs(event) {
        pull(&service, &id, hook).await?
    } else {
        None
    };
    let view = CallView {
        sync_id: run.as_ref(),
    };
    Ok(json(StatusCode::ACCEPTED, &view))
}

/// The run that will see what the call is about.
async fn pull(
    service: &Service,
    id: &HookId,
    hook: CalledHook,
) -> Result<Option<SyncId>, ApiError> {
    // No error: the caller did what it should, and some of them give up an address that answers with errors.
    if hook.is_parked {
        return Ok(None);
    }
    if hook.queued.is_some() {
        return Ok(hook.queued);
    }
    let queue = &service.config.queue;
    let (limits, distance) = (queue.limits(), queue.hook_distance);
    let queued = service
        .store
        .queue_by_hook(id, &hook, limits, distance, clock::now());
    let queued = queued.await?.ok_or_else(|| ApiError::not_found("hook"))?;
    Ok(Some(queued.map_err(syncs::refusal)?.id))
}

fn not_signed() -> ApiError {
    ApiError::forbidden(
        "the signature is missing or wrong; the hook's secret is shown when it is made",
    )
}

/// Reads the body to its end, and judges it.
async fn is_signed(mut check: Check, mut body: Stream) -> Result<bool, ApiError> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad("INVALID_BODY", "the body broke off"))?;
        let Ok(part) = frame.into_data() else {
            continue;
        };
        length += part.len();
        if length > MAX_CALL {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "PAYLOAD_TOO_LARGE",
                "the body has more than 33,554,432 bytes",
            ));
        }
        check.update(&part);
    }
    Ok(check.is_right())
}

/// The digest of the token in the path.
pub(super) struct Token([u8; 32]);

impl axum::extract::FromRequestParts<Service> for Token {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut hyper::http::request::Parts,
        _: &Service,
    ) -> Result<Self, ApiError> {
        let token = path_value(parts, "token").await?.unwrap_or_default();
        Ok(Token(api_key::hash(&token)))
    }
}
