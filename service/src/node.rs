//! This process as a node of its database.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    Error, ErrorKind, Service, clock,
    config::Config,
    store::{NewNode, Store},
};

/// The time between two signs of life: several fit into the time after which a node counts as silent.
const BEAT: Duration = Duration::from_secs(5);

/// Takes the name of the node for the process that serves the data folder with this identifier.
///
/// # Errors
/// [`ErrorKind::InUse`] if the name is that of another data folder.
pub(crate) async fn enter(
    store: &Store,
    config: &Config,
    folder: String,
) -> Result<NewNode, Error> {
    let node = NewNode {
        name: config.node.clone(),
        folder,
        process: uuid::Uuid::now_v7().simple().to_string(),
        public_url: config.public_url.clone(),
    };
    if store.enter_node(&node, clock::now()).await? {
        return Ok(node);
    }
    let name = &node.name;
    let text = format!(
        "the node {name} has another data folder: each needs a name of its own by --node; if that folder is lost, \
         `refsyncd node release {name}` gives the name away"
    );
    Err(Error::new(ErrorKind::InUse, text))
}

/// The end of a process whose name another one has taken.
pub(crate) fn replaced(node: &NewNode) -> Error {
    let text = format!(
        "another process serves as the node {} now: this one has ended",
        node.name
    );
    Error::new(ErrorKind::InUse, text)
}

/// Says that the node lives, until it stops; then it gets no new repositories. Cancels `replaced` and ends when another
/// process has the name.
pub(crate) async fn beat(
    service: Service,
    node: NewNode,
    stop: CancellationToken,
    replaced: CancellationToken,
) {
    let store = &service.store;
    while tokio::time::timeout(BEAT, stop.cancelled()).await.is_err() {
        match store.see_node(&node, clock::now()).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::error!(
                    node = node.name,
                    "another process has the name of this node"
                );
                return replaced.cancel();
            }
            Err(err) => {
                let err = crate::chain(&err);
                tracing::warn!(err, "the database was not told that this node lives");
            }
        }
    }
}
