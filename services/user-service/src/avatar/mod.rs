//! Pictures of users: from another service where there is one and it answers, else drawn here.

mod drawn;

use std::time::Duration;

use mainstay::Mainstay;
use mainstay::breaker;
use mainstay::client::{self, HttpClient, Options, Reach};
use mainstay::config::{Environment, Server};
use mainstay::pipeline;

use crate::settings;

/// Names the pipeline and its breaker.
pub(crate) const PIPELINE: &str = "avatar";

/// Kinds of images that are handed on. Not SVG: it can carry scripts.
const KINDS: [&str; 5] = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"];

/// Bytes of a picture.
const MAX: usize = 512 * 1024;

/// How another service is asked for a picture: nobody waits for one for long, there is another.
pub(crate) fn policies() -> (pipeline::Policy, breaker::Policy) {
    let mut policy = pipeline::Policy::default();
    policy.deadline = Duration::from_secs(2);
    policy.attempt_timeout = Duration::from_millis(800);
    policy.retry.attempts = 2;
    let mut guard = breaker::Policy::default();
    guard.min_calls = 10;
    (policy, guard)
}

/// Where pictures come from.
#[derive(Clone, Debug)]
pub(crate) struct Avatars(Option<HttpClient>);

/// A picture.
pub(crate) struct Avatar {
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) source: Source,
}

/// Who made a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The service at `AVATAR_URL`.
    Remote,
    /// This one, from the initials.
    Drawn,
}

impl Source {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Drawn => "drawn",
        }
    }
}

impl Avatars {
    /// As `[avatar]` says.
    pub(crate) fn open(app: &Mainstay) -> Result<Self, client::Error> {
        let settings = app.config().get::<settings::Avatar>();
        let Some(url) = &settings.url else { return Ok(Self(None)) };
        let url = url.parse().map_err(|error| client::Error::invalid(format!("AVATAR_URL: {error}")))?;
        let mut options = Options::default();
        options.max_body = MAX;
        options.reach = if app.config().get::<Server>().env == Environment::Production && !settings.private {
            Reach::Public
        } else {
            Reach::Private
        };
        app.http_client(PIPELINE, &[url], options).map(Some).map(Self)
    }

    /// The picture of a user. There always is one.
    pub(crate) async fn of(&self, id: &str, name: &str) -> Avatar {
        match self.fetch(id).await {
            Some(avatar) => avatar,
            None => Avatar {
                kind: "image/svg+xml",
                bytes: drawn::initials(id, name).into_bytes(),
                source: Source::Drawn,
            },
        }
    }

    async fn fetch(&self, id: &str) -> Option<Avatar> {
        let request = self.0.as_ref()?.get(id).header("accept", &KINDS.join(", "));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(%error, "no avatar from AVATAR_URL: one is drawn");
                return None;
            }
        };
        let kind = response.headers().get("content-type")?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let kind = *KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind))?;
        let is_there = response.status().as_u16() == 200 && !response.body().is_empty();
        is_there.then(|| Avatar { kind, bytes: response.body().to_vec(), source: Source::Remote })
    }
}
