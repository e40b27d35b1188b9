//! A running service: the data folder is opened, connections are accepted, workers and deliveries run.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};

use crate::{
    Error, ErrorKind, Service,
    api::{
        self,
        error::{ApiError, panicked},
    },
    clock, commands,
    config::Config,
    data_folder::{self, DataFolder},
    git::{self, GitHttp},
    hooks::{self, Deliveries},
    node,
    records::Name,
    stalling::Unstalled,
    store::{NewNode, Store},
    work::{self, RepoFolders, Workers},
};

/// The time in which the head of a request has to come.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// The time in which the next part of a request's body has to come.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The bytes of answers that a connection keeps for a client that is slow to take them.
const SEND_BUFFER: u32 = 128 << 10;
/// The connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// The most bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// The organization that every new database has.
const FIRST_ORG: &str = "default";

/// A running service.
#[derive(Debug)]
pub struct Running {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// The first key of a new database, with all scopes. It can't be read again.
    pub admin_key: Option<String>,
    /// The parts that others share.
    pub service: Service,
    accepting: JoinHandle<Connections>,
    git: Option<GitHttp>,
    workers: Workers,
    deliveries: Option<Deliveries>,
    folder: DataFolder,
    node: NewNode,
    replaced: CancellationToken,
    _beat: Option<AbortOnDropHandle<()>>,
}

/// Starts a service.
///
/// # Errors
/// The data folder, the master key or the database can't be used, or the address can't be listened on.
pub async fn start(mut config: Config) -> Result<Running, Error> {
    let folder = DataFolder::serve(&config.data)?;
    folder.path().clone_into(&mut config.data);
    let listener = listen(config.listen)?;
    let address = listener
        .local_addr()
        .map_err(|err| not_listening(config.listen, err))?;
    let mut config = config.bound_to(address);
    config.git.http = config.git.http && git_is_there().await?;
    let store = Store::open(&config.database)
        .await?
        .with_public_url(&config.public_url)
        .with_park_after(config.park_after);
    let keys = folder.master_keys(!store.has_orgs().await?)?;
    let sealer = data_folder::sealer(&keys)?;
    store.prove_key(&sealer).await.map_err(another_key)?;
    let node = node::enter(&store, &config, folder.id()?).await?;
    let admin_key = first_key(&store).await?;
    store
        .end_leases_of(&config.node, &config.retry, clock::now())
        .await?;
    let repos = RepoFolders::open(config.data.join("repos")).map_err(|err| {
        Error::new(
            ErrorKind::Io,
            "making the folder of the repositories failed",
        )
        .because(err)
    })?;
    let service = Service {
        metrics: store.metrics().clone(),
        store,
        sealer: Arc::new(sealer),
        repos,
        config: Arc::new(config),
        stop: CancellationToken::new(),
    };
    let git = if service.config.git.http {
        Some(GitHttp::start(service.clone()).await?)
    } else {
        None
    };
    let stop = service.stop.clone();
    let replaced = CancellationToken::new();
    let beat = service.store.is_shared().then(|| {
        let (stop, replaced) = (stop.clone(), replaced.clone());
        let task = node::beat(service.clone(), node.clone(), stop, replaced);
        AbortOnDropHandle::new(tokio::spawn(task))
    });
    let accepting = Accepting {
        listener,
        router: router(&service, git.as_ref()),
        places: Arc::new(Semaphore::new(service.config.connections)),
        stop,
        stall: service.config.stall,
    };
    Ok(Running {
        address,
        admin_key,
        accepting: tokio::spawn(accepting.run()),
        git,
        workers: work::start(service.clone()),
        deliveries: start_deliveries(&service)?,
        service,
        folder,
        node,
        replaced,
        _beat: beat,
    })
}

fn another_key(err: Error) -> Error {
    if err.kind() != ErrorKind::Secret {
        return err;
    }
    let text = "the master key is not that of the database: the nodes of one database have the same master.key";
    Error::new(ErrorKind::Key, text).because(err)
}

impl Running {
    /// Waits until another process has taken the name of this node; the reason to stop.
    pub async fn replaced(&self) -> Error {
        self.replaced.cancelled().await;
        node::replaced(&self.node)
    }

    /// Stops: nothing new is accepted, requests under way have the time of `Config::drain` to end, and runs and
    /// deliveries under way are given back.
    pub async fn stop(self) {
        self.service.stop.cancel();
        let leaving = async {
            if let Err(err) = self.service.store.leave_node(&self.node).await {
                let err = crate::chain(&err);
                tracing::warn!(err, "the database was not told that this node stops");
            }
        };
        let requests = async {
            if let Ok(connections) = self.accepting.await {
                connections.end(self.service.config.drain).await;
            }
        };
        let deliveries = async {
            if let Some(deliveries) = self.deliveries {
                deliveries.stop().await;
            }
        };
        tokio::join!(leaving, requests, self.workers.stop(), deliveries);
        if let Some(git) = self.git {
            git.stop().await;
        }
        self.service.store.close().await;
        drop(self.folder);
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.set_reuseaddr(true)?;
        // A socket takes more when a third of it is free: with the megabytes that systems give to loopback a client
        // would have to take all of these within `stall` to be seen.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|err| not_listening(address, err))
}

fn not_listening(address: SocketAddr, err: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("listening on {address} failed")).because(err)
}

/// Makes the first organization of a new database, and returns the key that may do everything there. Of several nodes
/// one makes it.
async fn first_key(store: &Store) -> Result<Option<String>, Error> {
    if store.has_orgs().await? {
        return Ok(None);
    }
    let slug =
        Name::new(FIRST_ORG).map_err(|err| Error::new(ErrorKind::Config, err.to_string()))?;
    commands::create_org(store, &slug).await
}

/// Whether git can serve repositories. Without it nothing says that it would: no `clone_url` either.
async fn git_is_there() -> Result<bool, Error> {
    match git::check().await {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == ErrorKind::Git => {
            tracing::warn!(error = crate::chain(&err), "git over HTTP is not served");
            Ok(false)
        }
        Err(err) => Err(err),
    }
}

/// Deliveries to webhook targets, unless they are turned off.
fn start_deliveries(service: &Service) -> Result<Option<Deliveries>, Error> {
    if !service.config.deliveries {
        return Ok(None);
    }
    hooks::start(service).map(Some)
}

fn router(service: &Service, git: Option<&GitHttp>) -> Router {
    let metrics = Router::new()
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(ApiError::method_not_allowed)
        .with_state(service.clone());
    let router = api::router(service.clone()).merge(metrics);
    let router = match git {
        Some(git) => router.merge(git.router()),
        None => router,
    };
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(RequestBodyTimeoutLayer::new(BODY_TIME))
}

async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    let now = clock::now();
    // A database that does not answer is told by /readyz; the other numbers are worth having even so.
    if let Ok(length) = service.store.queue_length().await {
        let age = length.due_since.map_or(0, |since| now.0 - since.0);
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        service.metrics.queue(length.queued, age);
    }
    if let Ok(backlog) = service.store.backlog(now).await {
        service.metrics.backlog(backlog.deliveries, backlog.hosts);
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], service.metrics.text())
}

/// The loop that accepts connections.
struct Accepting {
    listener: TcpListener,
    router: Router,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    stall: Duration,
}

/// The connections that are open when no more are accepted.
#[derive(Debug)]
struct Connections {
    graceful: GracefulShutdown,
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl Accepting {
    async fn run(self) -> Connections {
        let connections = Connections {
            graceful: GracefulShutdown::new(),
            tasks: TaskTracker::new(),
            abort: CancellationToken::new(),
        };
        while let Some((tcp, place)) = self.next().await {
            tcp.set_nodelay(true).ok();
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(
                    TokioIo::new(Unstalled::new(tcp, self.stall)),
                    TowerToHyperService::new(self.router.clone()),
                );
            let connection = connections.graceful.watch(connection);
            let abort = connections.abort.clone();
            connections.tasks.spawn(async move {
                tokio::select! {
                    // What breaks a connection has been told to its client, as far as possible.
                    _ = connection => {}
                    () = abort.cancelled() => {}
                }
                drop(place);
            });
        }
        connections
    }

    async fn next(&self) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let accepted = async {
            let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
            loop {
                match self.listener.accept().await {
                    Ok((tcp, _)) => return Some((tcp, place)),
                    // Too many open files, for example.
                    Err(err) => {
                        tracing::warn!(error = crate::chain(&err), "a connection was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        };
        tokio::select! {
            accepted = accepted => accepted,
            () = self.stop.cancelled() => None,
        }
    }
}

impl Connections {
    async fn end(self, time: Duration) {
        if tokio::time::timeout(time, self.graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests were ended that had not ended in time");
            self.abort.cancel();
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}
