//! Git over HTTP for the hosted repositories (gitprotocol-http(5)): `/<org>/<repo>.git` by `git http-backend`.
//!
//! A request is judged here, and then carried through by a task of its own that ends the program when the client
//! goes. After a push the task writes its event.

mod access;
mod answer;
mod backend;
mod cgi;
mod commands;
mod exchange;
mod input;
mod journal;
mod pkt_line;
mod push;

use std::{io, path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    answer::{Refusal, Streamed},
    backend::{Backend, CgiRequest, FETCH_BYTES},
    exchange::{Client, End},
    input::Input,
    journal::Journal,
};
use crate::{
    Error, ErrorKind, Service,
    api::error::ApiError,
    records::{Repo, Scope},
    tasks,
};

/// The purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The listing of a service's refs.
    Refs(GitService),
    /// The service itself.
    Call(GitService),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GitService {
    UploadPack,
    ReceivePack,
}

impl GitService {
    const ALL: [GitService; 2] = [GitService::UploadPack, GitService::ReceivePack];

    fn name(self) -> &'static str {
        match self {
            GitService::UploadPack => "git-upload-pack",
            GitService::ReceivePack => "git-receive-pack",
        }
    }

    fn scope(self) -> Scope {
        match self {
            GitService::UploadPack => Scope::Read,
            GitService::ReceivePack => Scope::Write,
        }
    }
}

impl Wanted {
    fn service(self) -> GitService {
        let (Wanted::Refs(service) | Wanted::Call(service)) = self;
        service
    }

    fn method(self) -> &'static str {
        match self {
            Wanted::Refs(_) => "GET",
            Wanted::Call(_) => "POST",
        }
    }

    fn path(self) -> String {
        match self {
            Wanted::Refs(_) => "/info/refs".into(),
            Wanted::Call(service) => format!("/{}", service.name()),
        }
    }

    fn query(self) -> String {
        match self {
            Wanted::Refs(service) => format!("service={}", service.name()),
            Wanted::Call(_) => String::new(),
        }
    }
}

/// Git over HTTP. Clones share the bounds.
#[derive(Debug, Clone)]
pub struct GitHttp {
    service: Service,
    journal: Journal,
    /// An empty folder.
    home: Arc<std::path::Path>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl GitHttp {
    /// Git for the repositories of `service`. Pushes that a dead process has left get their events.
    ///
    /// # Errors
    /// The data folder can't be written.
    pub async fn start(service: Service) -> Result<Self, Error> {
        let folder = |name: &str| -> PathBuf { service.config.data.join(name) };
        let failed = |err: io::Error| {
            Error::new(ErrorKind::Io, "preparing git over HTTP failed").because(err)
        };
        let home = folder("git-home");
        std::fs::create_dir_all(&home).map_err(failed)?;
        let journal = Journal::open(folder("pushes")).map_err(failed)?;
        push::settle_left(&service, &journal).await;
        let git = GitHttp {
            places: Arc::new(Semaphore::new(service.config.git.processes)),
            service,
            journal,
            home: home.into(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        git.tasks.spawn(git.clone().settle());
        Ok(git)
    }

    async fn settle(self) {
        let begin = || {
            let (service, journal) = (self.service.clone(), self.journal.clone());
            push::settle_again(service, journal, self.stop.clone())
        };
        tasks::kept("pushes", &self.service.metrics, begin).await;
    }

    /// The routes.
    pub fn router(&self) -> Router {
        let call = |service| {
            post(
                move |State(git): State<GitHttp>,
                      Path(path): Path<(String, String)>,
                      request: Request| async move {
                    git.answer(Wanted::Call(service), path, request).await
                },
            )
        };
        let upload_pack = call(GitService::UploadPack);
        let receive_pack = call(GitService::ReceivePack);
        Router::new()
            .route("/{org}/{repo}/info/refs", get(list))
            .route("/{org}/{repo}/git-upload-pack", upload_pack)
            .route("/{org}/{repo}/git-receive-pack", receive_pack)
            // No git client gets this one, so it has the form of the API.
            .method_not_allowed_fallback(ApiError::method_not_allowed)
            .with_state(self.clone())
    }

    /// Ends the requests that are under way still, and waits until their events are written.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn answer(self, wanted: Wanted, path: (String, String), request: Request) -> Response {
        let metrics = self.service.metrics.clone();
        let answer = self.try_answer(wanted, path, request).await;
        let answer = answer.unwrap_or_else(IntoResponse::into_response);
        metrics.git_request(wanted.service().name(), answer.status().as_u16());
        answer
    }

    async fn try_answer(
        self,
        wanted: Wanted,
        (org, repo): (String, String),
        request: Request,
    ) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let scope = wanted.service().scope();
        let repo = access::repo(&self.service, &parts.headers, (&org, &repo), scope).await?;
        if repo.home != self.service.config.node {
            return Err(elsewhere(&org, &repo));
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let busy = |_| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many git requests at once",
            )
        };
        let place = place.map_err(busy)?;
        self.init(&repo).await?;
        let most = match wanted {
            Wanted::Refs(_) => 0,
            Wanted::Call(GitService::UploadPack) => FETCH_BYTES.min(self.service.config.git.body),
            Wanted::Call(GitService::ReceivePack) => self.service.config.git.body,
        };
        let input = Input::new(&parts.headers, body, most)?;
        if wanted == Wanted::Call(GitService::ReceivePack) {
            return push::receive(self, place, repo, &parts.headers, input).await;
        }
        let errors = tempfile::tempfile().map_err(|err| Refusal::internal(&err))?;
        let mut backend = self.backend(wanted, &repo, &parts.headers, errors)?;
        self.spawn(
            place,
            input,
            async move |git: GitHttp, mut client: Client| {
                let time = git.service.config.git.time;
                let end = exchange::carry(&mut backend, &mut client, None, time, &git.stop).await;
                (client, end)
            },
        )
        .await
    }

    /// Makes the folder of a repository that has none yet.
    async fn init(&self, repo: &Repo) -> Result<(), Refusal> {
        let (repos, repo) = (self.service.repos.clone(), repo.clone());
        let opened =
            tokio::task::spawn_blocking(move || repos.open_or_init(&repo).map(|_| ())).await;
        match opened {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => Err(Refusal::internal(&err)),
            Err(err) => Err(Refusal::internal(&err)),
        }
    }

    fn backend(
        &self,
        wanted: Wanted,
        repo: &Repo,
        headers: &HeaderMap,
        errors: std::fs::File,
    ) -> Result<Backend, Refusal> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let request = CgiRequest {
            wanted,
            repo: &self.service.repos.path(&repo.id),
            home: &self.home,
            protocol: text("git-protocol"),
            content_type: text(header::CONTENT_TYPE.as_str()),
            most_bytes: self.service.config.git.body,
        };
        Backend::start(&request, errors).map_err(|err| Refusal::internal(&err))
    }

    /// Lets a task of its own make the answer, which has ended whatever happens to this request.
    async fn spawn<F>(
        self,
        place: OwnedSemaphorePermit,
        input: Input,
        carry: impl FnOnce(GitHttp, Client) -> F,
    ) -> Result<Response, Refusal>
    where
        F: Future<Output = (Client, End)> + Send + 'static,
    {
        let (head, answer_head) = oneshot::channel();
        let (body, answer_body) = mpsc::channel(exchange::PARTS);
        let client = Client {
            input,
            head: Some(head),
            body,
        };
        let process = self.service.metrics.git_process();
        let exchange = carry(self.clone(), client);
        self.tasks.spawn(async move {
            let (mut client, end) = exchange.await;
            // The program has ended. A client that does not read what is left keeps nobody from the next one.
            drop((place, process));
            match end {
                End::Done(status) => tracing::debug!(%status, "a git request has ended"),
                End::Gone => tracing::debug!("a git client has gone"),
                End::Refused(refusal) => client.refuse(refusal).await,
            }
        });
        let gone = |_| {
            Refusal::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the request has no answer",
            )
        };
        let head = answer_head.await.map_err(gone)??;
        let mut response = Response::new(Body::from(Streamed(answer_body)));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }
}

async fn list(
    State(git): State<GitHttp>,
    Path(path): Path<(String, String)>,
    request: Request,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let service = GitService::ALL
        .into_iter()
        .find(|service| Wanted::Refs(*service).query() == query);
    match service {
        Some(service) => git.answer(Wanted::Refs(service), path, request).await,
        None => {
            let text = "the dumb protocol is not served: a git client since 1.6.6 is needed";
            Refusal::new(StatusCode::FORBIDDEN, text).into_response()
        }
    }
}

/// Looks for git, with http-backend.
///
/// # Errors
/// [`ErrorKind::Git`] if one of them is missing.
pub(crate) async fn check() -> Result<(), Error> {
    let mut command = tokio::process::Command::new("git");
    let output = command.arg("--exec-path").output().await;
    let missing = |text: &str| {
        Error::new(
            ErrorKind::Git,
            format!("{text}; --no-git-http does without git over HTTP"),
        )
    };
    let output = output.map_err(|err| missing("git is not installed").because(err))?;
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !std::path::Path::new(&folder)
        .join("git-http-backend")
        .exists()
    {
        return Err(missing("git is installed without git http-backend"));
    }
    Ok(())
}

/// The answer about a repository on another node's disk. It is no redirect: git would leave the credential out there.
fn elsewhere(org: &str, repo: &Repo) -> Refusal {
    let text = match &repo.home_url {
        Some(url) => format!("the repository is at {url}/{org}/{}.git", repo.name),
        None => "the repository is at a node that is not known".to_owned(),
    };
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, text)
}
