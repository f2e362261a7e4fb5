use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{OriginalUri, RawPathParams, Request};
use http::{HeaderName, StatusCode, Uri};
use mainstay_core::cache::Policy;
use percent_encoding::percent_decode_str;

/// Which answers a [`ResponseCacheLayer`](super::ResponseCacheLayer) keeps, for whom and for how long.
///
/// By default: answers with status 200 and bodies up to 256 KiB, one for all callers, told apart by their path
/// and all query parameters (up to 2 KiB of them), whatever their order.
///
/// ```
/// use http::StatusCode;
/// use mainstay_core::cache::Ttl;
/// use mainstay_http::ResponseCacheRule;
///
/// let rule = ResponseCacheRule::new(Ttl::minutes(1).stale_for(Ttl::hours(1)))
///     .tag("users")
///     .tag_by(|target| target.param("id").map(|id| format!("user:{id}")))
///     .query_parameters(["page", "limit"])
///     .and_status(StatusCode::NOT_FOUND, Ttl::seconds(5))
///     .invalidated_by_writes();
/// ```
#[derive(Clone)]
pub struct ResponseCacheRule {
    pub(super) policy: Policy,
    pub(super) statuses: Vec<(StatusCode, Duration)>,
    pub(super) parameters: Option<Vec<Box<str>>>,
    pub(super) vary: Vec<HeaderName>,
    pub(super) max_body: usize,
    pub(super) max_query: usize,
    pub(super) invalidates: bool,
    pub(super) identity: Option<Arc<Identity>>,
    tags: Vec<Arc<str>>,
    tag_by: Vec<Arc<TagBy>>,
}

type Identity = dyn Fn(&Request) -> Option<String> + Send + Sync;
type TagBy = dyn Fn(&ResponseTarget<'_>) -> Option<String> + Send + Sync;

impl ResponseCacheRule {
    /// Keeps answers for the policy's time to live, or shorter if they say so: `s-maxage`, `max-age`, `Expires`.
    ///
    /// The policy also says how long and how soon a stale answer is given (`stale-while-revalidate` and
    /// `stale-if-error` of an answer can shorten that, `must-revalidate` forbids it), how long a handler may take, and
    /// (its negative time to live) how long it is remembered that the answers of a path are not to be kept.
    /// Give tags to the rule, not to the policy: writes invalidate the rule's.
    #[must_use]
    pub fn new(policy: impl Into<Policy>) -> Self {
        Self {
            policy: policy.into(),
            statuses: vec![(StatusCode::OK, Duration::MAX)],
            parameters: None,
            vary: Vec::new(),
            max_body: 256 << 10,
            max_query: 2 << 10,
            invalidates: false,
            identity: None,
            tags: Vec::new(),
            tag_by: Vec::new(),
        }
    }

    /// All answers bear this tag. With those of [`tag_by`](Self::tag_by) there can be 7.
    #[must_use]
    pub fn tag(mut self, name: impl Into<Arc<str>>) -> Self {
        self.tags.push(name.into());
        self
    }

    /// An answer bears the tag that `name` makes of its target, if any.
    #[must_use]
    pub fn tag_by(
        mut self,
        name: impl Fn(&ResponseTarget<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.tag_by.push(Arc::new(name));
        self
    }

    /// Only these query parameters make a difference; the handler must not read others.
    #[must_use]
    pub fn query_parameters<N: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.parameters = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Requests that differ in this header have different answers, as if each answer named it in its `Vary`.
    #[must_use]
    pub fn vary_by(mut self, name: HeaderName) -> Self {
        self.vary.push(name);
        self
    }

    /// Each caller that `name` recognizes has answers of their own, `private` ones included. Whom it does not
    /// know (`None`) shares the common ones. What a request merely claims must be verified first.
    #[must_use]
    pub fn per_identity(mut self, name: impl Fn(&Request) -> Option<String> + Send + Sync + 'static) -> Self {
        self.identity = Some(Arc::new(name));
        self
    }

    /// Keeps answers with this status, too, for this long at most. Of a [`Problem`](crate::Problem) its `no-store`
    /// is then meant for clients. An error of the server, a part (206) and 304 are never kept.
    #[must_use]
    pub fn and_status(mut self, status: StatusCode, at_most: impl Into<Duration>) -> Self {
        self.statuses.push((status, at_most.into()));
        self
    }

    /// Largest body that is kept, in bytes. A larger one is passed on as it comes.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        Self { max_body: bytes, ..self }
    }

    /// Longest query, in bytes; a request with a longer one passes by.
    #[must_use]
    pub fn max_query(self, bytes: usize) -> Self {
        Self { max_query: bytes, ..self }
    }

    /// Any request that is not safe (POST, PUT, DELETE, …) and comes through the layer takes away what was kept of its
    /// path, however that is spelled, and all that bears its tags, before it is answered. Not if it was refused (4xx).
    #[must_use]
    pub fn invalidated_by_writes(self) -> Self {
        Self { invalidates: true, ..self }
    }

    /// How long an answer with this status is kept at most, if it is.
    pub(super) fn keeps(&self, status: StatusCode) -> Option<Duration> {
        let never = status.is_informational()
            || status.is_server_error()
            || matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        let mut named = self.statuses.iter().rev().filter(|(named, _)| *named == status && !never);
        named.next().map(|(_, at_most)| *at_most)
    }

    /// All tags of a target.
    pub(super) fn tags(&self, target: &ResponseTarget<'_>) -> Vec<Arc<str>> {
        // Decoded: a route takes all spellings of a path, and a write to one changes what is kept of each.
        let own = self.invalidates.then(|| {
            let path = percent_decode_str(target.path()).decode_utf8_lossy();
            Arc::from(format!("http:{path}"))
        });
        let made = self.tag_by.iter().filter_map(|name| name(target)).map(Arc::from);
        self.tags.iter().cloned().chain(made).chain(own).collect()
    }

    /// Whether the parameters of the path make a difference to its tags.
    pub(super) fn wants_params(&self) -> bool {
        !self.tag_by.is_empty()
    }

    /// Whether the query parameter makes a difference.
    pub(super) fn knows_parameter(&self, name: &str) -> bool {
        self.parameters.as_ref().is_none_or(|known| known.iter().any(|known| **known == *name))
    }
}

impl fmt::Debug for ResponseCacheRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseCacheRule")
            .field("policy", &self.policy)
            .field("statuses", &self.statuses)
            .field("tags", &self.tags)
            .field("vary", &self.vary)
            .finish_non_exhaustive()
    }
}

/// What a request asks for, for [`ResponseCacheRule::tag_by`].
#[derive(Debug)]
pub struct ResponseTarget<'a> {
    uri: &'a Uri,
    params: &'a [(String, String)],
}

impl<'a> ResponseTarget<'a> {
    pub(super) fn new(uri: &'a Uri, params: &'a [(String, String)]) -> Self {
        Self { uri, params }
    }

    /// The path as the client wrote it, also in a nested router.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The whole target.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.uri
    }

    /// A parameter of the route's path, decoded: of `/users/{id}` the `id`.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The target as the client wrote it: a nested router sees a part of it.
pub(super) fn original_uri(parts: &http::request::Parts) -> Uri {
    parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.clone(), |original| original.0.clone())
}

/// The parameters of the route's path.
pub(super) async fn path_params(parts: &mut http::request::Parts) -> Vec<(String, String)> {
    use axum::extract::FromRequestParts;
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        // Outside of a route, or not UTF-8: the handler says so.
        Err(_) => Vec::new(),
    }
}
