//! Apps of a test's own: no files, no environment but the one given.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay::axum::Router;
use mainstay::http::{Routes, Rule};
use mainstay::{Builder, Mainstay, ServeError};
use mainstay_testkit::eventually_async;
use mainstay_testkit::http::Request;
use tokio::task::JoinHandle;

/// Longer than anything takes on a loaded machine; nothing waits this long when it works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An address that nothing listens on, as far as one can know beforehand.
pub(crate) fn free_addr() -> SocketAddr {
    mainstay_testkit::Port::reserve().address()
}

pub(crate) fn builder(variables: &[(&str, &str)]) -> Builder {
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Mainstay::builder("probe", "1.2.3").configure(|config| config.no_files().env_vars(variables))
}

/// An app that serves.
pub(crate) struct Running {
    pub(crate) app: Mainstay,
    pub(crate) addr: SocketAddr,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    pub(crate) async fn start(builder: Builder, routes: Router) -> Self {
        let addr = free_addr();
        let port = [("PORT".to_owned(), addr.port().to_string())];
        Self::serve(builder.overrides(port).start().await.unwrap(), addr, routes).await
    }

    /// Serves an app that is configured for `addr`: for routes that are made from the app.
    pub(crate) async fn serve(app: Mainstay, addr: SocketAddr, routes: Router) -> Self {
        let serving = app.clone();
        let served =
            tokio::spawn(async move { serving.serve(Routes::new().all(Rule::Public, routes)).await });
        ready(addr).await;
        Self { app, addr, served }
    }

    pub(crate) async fn stop(self) -> Result<(), ServeError> {
        self.app.lifecycle().request_shutdown("the test is over");
        tokio::time::timeout(PATIENCE, self.served).await.expect("the app should stop").unwrap()
    }
}

pub(crate) async fn ready(addr: SocketAddr) {
    eventually_async("the app is ready", PATIENCE, async || {
        matches!(Request::get(addr, "/distributed/ready").try_send().await, Ok(response) if response.status == 200)
    })
    .await;
}

pub(crate) async fn closed(addr: SocketAddr) {
    eventually_async("the socket is closed", PATIENCE, async || {
        tokio::net::TcpStream::connect(addr).await.is_err()
    })
    .await;
}

pub(crate) async fn status(addr: SocketAddr, path: &str) -> u16 {
    Request::get(addr, path).send().await.status
}
