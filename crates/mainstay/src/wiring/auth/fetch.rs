//! The keys of an issuer elsewhere, over HTTP.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_auth::token::{FetchKeys, RemoteKeys, RemoteOptions};
use mainstay_client::{HttpClient, Options, Reach, Url};
use mainstay_core::breaker::{self, Breakers};
use mainstay_core::config::{self, Config, Problem};
use mainstay_core::metrics::Metrics;
use mainstay_core::pipeline::{self, Pipeline};
use mainstay_core::time::Clock;

use super::in_production;
use crate::StartError;

/// The keys at `JWT_JWKS_URL`: over HTTPS unless in development, at the address of the configuration and no other.
pub(super) fn remote(
    url: &str,
    config: &Config,
    breakers: &Breakers,
    metrics: &Metrics,
) -> Result<RemoteKeys, StartError> {
    let wrong = |why: &str| StartError::Config(Problem::new("JWT_JWKS_URL", why).into());
    let url = url.parse::<Url>().map_err(|error| wrong(&error.to_string()))?;
    if in_production(config) && url.scheme() != "https" {
        return Err(wrong("must be https:// in production: who answers it decides who is let in"));
    }
    let mut options = Options::default();
    options.redirects = 0;
    options.max_body = mainstay_auth::token::MAX_SET;
    if config.get::<config::Auth>().jwt_jwks_private || !in_production(config) {
        options.reach = Reach::Private;
    }
    let guard = breakers.declare("jwks", breaker::Policy::default()).expect("the default policy is sound");
    let mut policy = pipeline::Policy::default();
    policy.deadline = RemoteOptions::default().timeout;
    let pipeline = Pipeline::new("jwks", policy, guard, metrics, Clock::system())
        .map_err(|error| StartError::Auth(error.to_string()))?;
    let mut host = url.clone();
    host.set_path("");
    host.set_query(None);
    let client = HttpClient::new(pipeline, &[host], options, breakers, metrics)?;
    let fetch = Fetch { client, url };
    Ok(RemoteKeys::new(Arc::new(fetch), RemoteOptions::default(), metrics, Clock::system()))
}

struct Fetch {
    client: HttpClient,
    url: Url,
}

#[async_trait]
impl FetchKeys for Fetch {
    async fn fetch(&self, _most: usize) -> Result<Vec<u8>, String> {
        let mut request = self.client.get(self.url.path());
        for (name, value) in self.url.query_pairs() {
            request = request.query(&name, &value);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("status {}", answer.status()));
        }
        Ok(answer.body().to_vec())
    }
}
