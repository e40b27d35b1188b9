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
/// [`ErrorKind::InUse`] if a process with another data folder has the name.
pub(crate) async fn enter(
    store: &Store,
    config: &Config,
    folder: String,
) -> Result<NewNode, Error> {
    let node = NewNode {
        name: config.node.clone(),
        folder,
        public_url: config.public_url.clone(),
    };
    if store.enter_node(&node, clock::now()).await? {
        return Ok(node);
    }
    let text = format!(
        "the node {} is served by a process with another data folder: each needs a name of its own by --node",
        node.name
    );
    Err(Error::new(ErrorKind::InUse, text))
}

/// Says that the node lives, until it stops; then it gets no new repositories.
pub(crate) async fn beat(service: Service, node: NewNode, stop: CancellationToken) {
    let store = &service.store;
    while tokio::time::timeout(BEAT, stop.cancelled()).await.is_err() {
        match store.see_node(&node, clock::now()).await {
            Ok(true) => {}
            Ok(false) => tracing::error!(
                node = node.name,
                "another process has the name of this node"
            ),
            Err(err) => {
                let err = crate::chain(&err);
                tracing::warn!(err, "the database was not told that this node lives");
            }
        }
    }
}
