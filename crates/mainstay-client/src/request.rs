use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::client::{NOTHING, REFUSED_HEADERS};
use crate::{Error, HttpClient};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request before it is sent.
#[derive(Debug, Clone)]
pub struct Request {
    client: HttpClient,
    pub(crate) method: Method,
    path: String,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    repeatable: Option<bool>,
    /// What cannot be sent: told when it is.
    wrong: Option<String>,
}

impl Request {
    pub(crate) fn new(client: HttpClient, method: Method, path: &str) -> Self {
        let path = path.to_owned();
        Self {
            client,
            method,
            path,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: NOTHING,
            repeatable: None,
            wrong: None,
        }
    }

    /// Adds a parameter to the query.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) if !REFUSED_HEADERS.contains(&name) => {
                self.headers.insert(name, value);
            }
            _ => self.wrong = Some(format!("the header {name:?}")),
        }
        self
    }

    /// Sends these bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends this as JSON.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body = body.into(),
            Err(error) => self.wrong = Some(format!("the body: {error}")),
        }
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// Says whether it may be carried out twice. Without this, that is so for the methods that are idempotent by RFC
    /// 9110, and for a request with an `Idempotency-Key`.
    #[must_use]
    pub const fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = Some(repeatable);
        self
    }

    /// Sends it, through the pipeline of its client. Any status is an answer: look at [`Response::status`].
    ///
    /// Dropping the future ends the attempt under way; the other side may have carried it out.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn send(self) -> Result<Response, Error> {
        match &self.wrong {
            Some(wrong) => Err(Error::invalid(wrong)),
            None => self.client.send(&self).await,
        }
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        let by_itself = || self.method.is_idempotent() || self.headers.contains_key(IDEMPOTENCY_KEY);
        self.repeatable.unwrap_or_else(by_itself)
    }

    /// Where it goes below this endpoint.
    pub(crate) fn url(&self, endpoint: &Url) -> Result<Url, Error> {
        let base = endpoint.path().trim_end_matches('/');
        let mut url = endpoint.clone();
        url.set_path(&format!("{base}/{}", self.path.trim_start_matches('/')));
        let below = url.path().strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        if !below {
            return Err(Error::invalid(format!("the path {:?}: it leaves that of the endpoint", self.path)));
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        Ok(url)
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    pub(crate) const fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body }
    }

    /// What the other side made of it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says about the body.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; [`Options::max_body`](crate::Options::max_body) bytes at most.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// It is no JSON, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}
