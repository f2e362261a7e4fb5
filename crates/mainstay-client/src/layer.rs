use std::pin::Pin;
use std::task::{Context, Poll};

use mainstay_core::pipeline::{Classify, Error, Pipeline};
use tower::{Layer, Service, ServiceExt};

/// Puts a [`Pipeline`] round any tower service whose requests can be cloned: one line for a client of any protocol.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay_client::PipelineLayer;
/// use mainstay_core::breaker::{Breaker, Policy as BreakerPolicy};
/// use mainstay_core::metrics::Metrics;
/// use mainstay_core::pipeline::{Judgement, Outcome, Pipeline, Policy};
/// use mainstay_core::time::Clock;
/// use tower::{Layer, ServiceExt};
///
/// # let (metrics, clock) = (Metrics::new(), Clock::system());
/// # let breaker = Breaker::new("echo", BreakerPolicy::default(), &metrics, clock.clone()).unwrap();
/// # let pipeline = Pipeline::new("echo", Policy::default(), breaker, &metrics, clock).unwrap();
/// let classify = |outcome: Outcome<'_, u32, std::io::Error>| match outcome {
///     Outcome::Done(_) => Judgement::SUCCESS,
///     _ => Judgement::TRANSIENT,
/// };
/// let echo = tower::service_fn(|number: u32| async move { Ok::<_, std::io::Error>(number) });
/// let guarded = PipelineLayer::new(pipeline, classify).layer(echo);
/// assert_eq!(guarded.oneshot(7).await.unwrap(), 7);
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct PipelineLayer<C> {
    pipeline: Pipeline,
    classify: C,
}

impl<C> PipelineLayer<C> {
    /// Calls go through `pipeline`; `classify` judges how they end.
    pub const fn new(pipeline: Pipeline, classify: C) -> Self {
        Self { pipeline, classify }
    }
}

impl<S, C: Clone> Layer<S> for PipelineLayer<C> {
    type Service = PipelineService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        PipelineService { pipeline: self.pipeline.clone(), classify: self.classify.clone(), inner }
    }
}

/// A service behind a [`Pipeline`]. It is ready at once: each attempt waits for the service within its own time.
#[derive(Debug, Clone)]
pub struct PipelineService<S, C> {
    pipeline: Pipeline,
    classify: C,
    inner: S,
}

impl<S, C, R> Service<R> for PipelineService<S, C>
where
    S: Service<R> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Response: Send + Sync,
    S::Error: Send + Sync,
    R: Clone + Send + Sync + 'static,
    C: Classify<S::Response, S::Error> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Error<S::Error>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let Self { pipeline, classify, inner } = self.clone();
        Box::pin(async move { pipeline.call(classify, |_| inner.clone().oneshot(request.clone())).await })
    }
}
