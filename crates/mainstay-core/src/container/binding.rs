use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::error::BoxError;
use super::inject::{Dep, Dependency, Instance};
use super::key::{Token, Unnamed};

/// A binding that was just registered; the methods refine it.
pub struct Binding<'b, T: ?Sized> {
    spec: &'b mut Spec,
    component: PhantomData<fn(&T)>,
}

impl<'b, T: ?Sized + Send + Sync + 'static> Binding<'b, T> {
    pub(super) fn new(spec: &'b mut Spec) -> Self {
        Self { spec, component: PhantomData }
    }

    /// One instance for each [`Scope`](super::Scope) instead of one for the container.
    pub fn scoped(self) -> Self {
        self.spec.lifetime = Lifetime::Scoped;
        self
    }

    /// A new instance for everyone who asks.
    pub fn transient(self) -> Self {
        self.spec.lifetime = Lifetime::Transient;
        self
    }

    /// Tells bindings of the same type apart: ask for it with [`Dep<T, K>`](Dep). `K` is a marker,
    /// usually an empty struct.
    pub fn named<K: 'static>(self) -> Self {
        self.spec.token = self.spec.token.named::<K>();
        self
    }

    /// Makes this one of many: it is found through [`All<T>`](super::All) only, never as [`Dep<T>`](Dep).
    pub fn contribute(self) -> Self {
        self.spec.contribution = true;
        self
    }

    /// Runs in [`Container::start`](super::Container::start); replaces an earlier start hook of this binding. Singletons only.
    pub fn on_start<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Dep<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HookOutput> + Send + 'static,
    {
        self.spec.start.call = Some(erase(hook));
        self
    }

    /// Runs in [`Container::stop`](super::Container::stop); replaces an earlier stop hook of this binding. Singletons only.
    pub fn on_stop<F, Fut>(self, hook: F) -> Self
    where
        F: Fn(Dep<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: HookOutput> + Send + 'static,
    {
        self.spec.stop.call = Some(erase(hook));
        self
    }

    /// The longest the constructor may take (default 30 s), its dependencies not counted.
    pub fn build_deadline(self, deadline: Duration) -> Self {
        self.spec.build_deadline = deadline;
        self
    }

    /// The longest the start hook may take (default 10 s).
    pub fn start_deadline(self, deadline: Duration) -> Self {
        self.spec.start.deadline = deadline;
        self
    }

    /// The longest the stop hook may take (default 10 s).
    pub fn stop_deadline(self, deadline: Duration) -> Self {
        self.spec.stop.deadline = deadline;
        self
    }
}

impl<T: ?Sized> fmt::Debug for Binding<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({})", self.spec.token.short())
    }
}

/// How long an instance lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifetime {
    /// One for the container, built by [`Builder::build`](super::Builder::build).
    Singleton,
    /// One for each scope, built when first asked for.
    Scoped,
    /// One for each time it is asked for.
    Transient,
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Singleton => "singleton",
            Self::Scoped => "scoped",
            Self::Transient => "transient",
        })
    }
}

/// What a hook may return: nothing, or a `Result` whose error is reported.
pub trait HookOutput {
    /// The outcome in one form.
    #[doc(hidden)]
    fn into_result(self) -> Result<(), BoxError>;
}

impl HookOutput for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> HookOutput for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

const DEFAULT_BUILD_DEADLINE: Duration = Duration::from_secs(30);
const DEFAULT_HOOK_DEADLINE: Duration = Duration::from_secs(10);

/// Everything known about one binding.
pub(super) struct Spec {
    pub(super) token: Token,
    pub(super) lifetime: Lifetime,
    pub(super) contribution: bool,
    pub(super) overriding: bool,
    pub(super) at: &'static Location<'static>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) construct: Construct,
    pub(super) build_deadline: Duration,
    pub(super) start: Hook,
    pub(super) stop: Hook,
}

impl Spec {
    #[track_caller]
    pub(super) fn new<T: ?Sized + 'static>(
        dependencies: Vec<Dependency>,
        construct: Construct,
        overriding: bool,
    ) -> Self {
        Self {
            token: Token::of::<T, Unnamed>(),
            lifetime: Lifetime::Singleton,
            contribution: false,
            overriding,
            at: Location::caller(),
            dependencies,
            construct,
            build_deadline: DEFAULT_BUILD_DEADLINE,
            start: Hook { call: None, deadline: DEFAULT_HOOK_DEADLINE },
            stop: Hook { call: None, deadline: DEFAULT_HOOK_DEADLINE },
        }
    }
}

/// Work at start or stop, if the binding has any.
pub(super) struct Hook {
    pub(super) call: Option<HookCall>,
    pub(super) deadline: Duration,
}

pub(super) type Construct =
    Box<dyn Fn(Vec<Vec<Instance>>) -> BoxFuture<'static, Result<Instance, BoxError>> + Send + Sync>;
pub(super) type HookCall = Box<dyn Fn(&Instance) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

fn erase<T, F, Fut>(hook: F) -> HookCall
where
    T: ?Sized + Send + Sync + 'static,
    F: Fn(Dep<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: HookOutput> + Send + 'static,
{
    Box::new(move |instance| hook(Dep::from(instance.get())).map(HookOutput::into_result).boxed())
}
