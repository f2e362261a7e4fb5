//! What a constructor may ask for in its parameter list.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use super::key::{Token, Unnamed};

/// A shared component, as a constructor receives it.
///
/// `T` may be a trait object. `K` is the marker type of a named binding
/// ([`Binding::named`](super::Binding::named)); most bindings have none.
///
/// ```
/// use mainstay_core::container::Dep;
/// use std::sync::Arc;
///
/// struct Clock;
/// struct Primary;
/// fn by_hand(clock: Dep<Clock>) -> Arc<Clock> { clock.into_arc() }
/// fn named(_: Dep<Clock, Primary>) {}
/// by_hand(Dep::from(Arc::new(Clock))); // a unit test needs no container
/// named(Dep::from(Arc::new(Clock)));
/// ```
pub struct Dep<T: ?Sized, K = Unnamed> {
    value: Arc<T>,
    marker: PhantomData<fn() -> K>,
}

impl<T: ?Sized, K> Dep<T, K> {
    /// The shared pointer inside.
    #[must_use]
    pub fn into_arc(self) -> Arc<T> {
        self.value
    }
}

impl<T: ?Sized, K> From<Arc<T>> for Dep<T, K> {
    fn from(value: Arc<T>) -> Self {
        Self { value, marker: PhantomData }
    }
}

impl<T: ?Sized, K> Clone for Dep<T, K> {
    fn clone(&self) -> Self {
        Self::from(Arc::clone(&self.value))
    }
}

impl<T: ?Sized, K> Deref for Dep<T, K> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized + fmt::Debug, K> fmt::Debug for Dep<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Every contribution of type `T` ([`Binding::contribute`](super::Binding::contribute)), in the
/// order of registration. Empty when there is none.
pub struct All<T: ?Sized, K = Unnamed> {
    values: Vec<Arc<T>>,
    marker: PhantomData<fn() -> K>,
}

impl<T: ?Sized, K> From<Vec<Arc<T>>> for All<T, K> {
    fn from(values: Vec<Arc<T>>) -> Self {
        Self { values, marker: PhantomData }
    }
}

impl<T: ?Sized, K> Deref for All<T, K> {
    type Target = [Arc<T>];

    fn deref(&self) -> &[Arc<T>] {
        &self.values
    }
}

impl<T: ?Sized, K> IntoIterator for All<T, K> {
    type Item = Arc<T>;
    type IntoIter = std::vec::IntoIter<Arc<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

impl<T: ?Sized + fmt::Debug, K> fmt::Debug for All<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

/// A parameter of a constructor: [`Dep`], `Option<Dep>` or [`All`].
#[diagnostic::on_unimplemented(
    message = "a constructor cannot take a `{Self}`",
    label = "not injectable",
    note = "a parameter is a `Dep<T>`, an `Option<Dep<T>>` or an `All<T>`, with `T: Send + Sync + 'static`"
)]
pub trait Inject: Sized + Send + 'static {
    /// What the parameter needs.
    #[doc(hidden)]
    fn dependency() -> Dependency;

    /// Takes the parameter from the instances that were found for it.
    #[doc(hidden)]
    fn extract(found: Vec<Instance>) -> Self;
}

impl<T: ?Sized + Send + Sync + 'static, K: 'static> Inject for Dep<T, K> {
    fn dependency() -> Dependency {
        Dependency { token: Token::of::<T, K>(), need: Need::One }
    }

    fn extract(found: Vec<Instance>) -> Self {
        Option::<Self>::extract(found).expect("a plan without a required dependency is refused")
    }
}

impl<T: ?Sized + Send + Sync + 'static, K: 'static> Inject for Option<Dep<T, K>> {
    fn dependency() -> Dependency {
        Dependency { token: Token::of::<T, K>(), need: Need::Optional }
    }

    fn extract(found: Vec<Instance>) -> Self {
        found.first().map(|instance| Dep::from(instance.get()))
    }
}

impl<T: ?Sized + Send + Sync + 'static, K: 'static> Inject for All<T, K> {
    fn dependency() -> Dependency {
        Dependency { token: Token::of::<T, K>(), need: Need::All }
    }

    fn extract(found: Vec<Instance>) -> Self {
        found.iter().map(Instance::get).collect::<Vec<_>>().into()
    }
}

/// What one parameter of a constructor needs.
#[derive(Debug, Clone, Copy)]
pub struct Dependency {
    pub(super) token: Token,
    pub(super) need: Need,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    One,
    Optional,
    All,
}

/// A built component whose type is known by its key only.
#[derive(Clone)]
pub struct Instance(Arc<dyn Any + Send + Sync>);

impl Instance {
    /// The second `Arc` is what lets a trait object through `Any`, which only carries sized types.
    pub(super) fn new<T: ?Sized + Send + Sync + 'static>(value: Arc<T>) -> Self {
        Self(Arc::new(value))
    }

    pub(super) fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Arc<T> {
        Arc::clone(self.0.downcast_ref::<Arc<T>>().expect("an instance is kept under the key of its type"))
    }
}
