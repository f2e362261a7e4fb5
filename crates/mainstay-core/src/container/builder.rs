use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::ready;

use super::assembly::Assembly;
use super::binding::{Binding, Construct, Spec};
use super::constructor::Constructor;
use super::error::BoxError;
use super::inject::{Dependency, Instance};
use super::plan::Plan;
use super::{Container, Error};

/// Collects bindings; [`Builder::build`] turns them into a [`Container`].
///
/// The order of the calls does not matter, except that contributions keep it.
#[derive(Default)]
pub struct Builder {
    specs: Vec<Spec>,
    overriding: bool,
}

impl Builder {
    /// A builder without bindings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Provides what the constructor returns, made from the dependencies in its signature.
    #[track_caller]
    pub fn provide<T, Args>(&mut self, constructor: impl Constructor<Args, Output = T>) -> Binding<'_, T>
    where
        T: Send + Sync + 'static,
    {
        self.add(constructor, |value| Ok(Arc::new(value)))
    }

    /// Like [`Builder::provide`], for a constructor that can fail.
    #[track_caller]
    pub fn try_provide<T, E, Args>(
        &mut self,
        constructor: impl Constructor<Args, Output = Result<T, E>>,
    ) -> Binding<'_, T>
    where
        T: Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        self.add(constructor, |result| result.map(Arc::new).map_err(Into::into))
    }

    /// Provides a trait object (or anything else that is already in an `Arc`):
    /// `|pool: Dep<Pool>| async move { Arc::new(SqlUsers::new(pool)) as Arc<dyn UserRepository> }`.
    ///
    /// To offer a component under a trait as well, take it and hand it on:
    /// `|users: Dep<SqlUsers>| async move { users.into_arc() as Arc<dyn UserRepository> }`.
    #[track_caller]
    pub fn provide_dyn<T, Args>(
        &mut self,
        constructor: impl Constructor<Args, Output = Arc<T>>,
    ) -> Binding<'_, T>
    where
        T: ?Sized + Send + Sync + 'static,
    {
        self.add(constructor, Ok)
    }

    /// Like [`Builder::provide_dyn`], for a constructor that can fail.
    #[track_caller]
    pub fn try_provide_dyn<T, E, Args>(
        &mut self,
        constructor: impl Constructor<Args, Output = Result<Arc<T>, E>>,
    ) -> Binding<'_, T>
    where
        T: ?Sized + Send + Sync + 'static,
        E: Into<BoxError> + 'static,
    {
        self.add(constructor, |result| result.map_err(Into::into))
    }

    /// Provides a ready instance.
    #[track_caller]
    pub fn value<T: Send + Sync + 'static>(&mut self, value: T) -> Binding<'_, T> {
        self.value_dyn(Arc::new(value))
    }

    /// Provides a ready trait object (or anything else that is already in an `Arc`).
    #[track_caller]
    pub fn value_dyn<T: ?Sized + Send + Sync + 'static>(&mut self, value: Arc<T>) -> Binding<'_, T> {
        let instance = Instance::new(value);
        self.push(Vec::new(), Box::new(move |_| ready(Ok(instance.clone())).boxed()))
    }

    /// Whatever `register` provides replaces the binding of the same type and name, hooks included;
    /// contributions replace all contributions. For tests. Overriding what nobody provides is an
    /// error of [`Builder::build`]: the override would have no effect, and its test would lie.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use mainstay_core::container::{Builder, Container};
    ///
    /// struct Greeting(&'static str);
    /// fn wiring(builder: &mut Builder) { builder.value(Greeting("hello")); }
    ///
    /// let mut builder = Container::builder();
    /// wiring(&mut builder);
    /// builder.override_with(|test| { test.value(Greeting("test")); });
    /// assert_eq!(builder.build().await?.resolve::<Greeting>()?.0, "test");
    /// # Ok::<_, mainstay_core::container::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn override_with(&mut self, register: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.overriding, true);
        register(self);
        self.overriding = outer;
    }

    /// Checks the whole graph, then builds every singleton in dependency order. Call it on a tokio
    /// runtime with time enabled.
    ///
    /// # Errors
    /// [`Error::Graph`] with every mistake in the bindings, before any constructor runs;
    /// [`Error::Construct`] when a constructor fails, panics or overruns its deadline: the
    /// components built so far are stopped in reverse order first.
    ///
    /// # Cancellation
    /// Dropping the future drops what was built; stop hooks do not run.
    pub async fn build(self) -> Result<Container, Error> {
        let plan = Plan::new(self.specs).map_err(|problems| Error::Graph { problems })?;
        let assembly = Arc::new(Assembly::new(plan));
        assembly.build().await?;
        Ok(Container { assembly })
    }

    #[track_caller]
    fn add<T, C, Args>(&mut self, constructor: C, finish: Finish<C::Output, T>) -> Binding<'_, T>
    where
        T: ?Sized + Send + Sync + 'static,
        C: Constructor<Args>,
        C::Output: 'static,
    {
        let construct = move |inputs| {
            let value = constructor.call(inputs);
            async move { finish(value.await).map(Instance::new) }.boxed()
        };
        self.push(C::dependencies(), Box::new(construct))
    }

    #[track_caller]
    fn push<T>(&mut self, dependencies: Vec<Dependency>, construct: Construct) -> Binding<'_, T>
    where
        T: ?Sized + Send + Sync + 'static,
    {
        self.specs.push(Spec::new::<T>(dependencies, construct, self.overriding));
        Binding::new(self.specs.last_mut().expect("pushed in the line above"))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.specs.iter().map(|spec| spec.token.short())).finish()
    }
}

type Finish<Output, T> = fn(Output) -> Result<Arc<T>, BoxError>;
