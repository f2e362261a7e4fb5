//! Functions as constructors: the parameter list is the list of dependencies.

use std::future::Future;

use super::inject::{Dependency, Inject, Instance};

/// An async function of up to eight [`Inject`] parameters.
///
/// Implemented for every matching closure and `fn`; nobody implements it by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a constructor",
    note = "a constructor is `|a: Dep<A>, b: Dep<B>| async move {{ … }}` with up to eight parameters and a `Send` future"
)]
pub trait Constructor<Args>: Send + Sync + 'static {
    /// What it builds.
    type Output;

    /// The work of building it.
    #[doc(hidden)]
    type Future: Future<Output = Self::Output> + Send + 'static;

    /// One entry for each parameter.
    #[doc(hidden)]
    fn dependencies() -> Vec<Dependency>;

    /// Calls the function; `inputs` holds one entry for each parameter.
    #[doc(hidden)]
    fn call(&self, inputs: Vec<Vec<Instance>>) -> Self::Future;
}

macro_rules! constructor_of {
    ($($arg:ident)*) => {
        impl<F, Fut, $($arg),*> Constructor<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            $($arg: Inject),*
        {
            type Output = Fut::Output;
            type Future = Fut;

            fn dependencies() -> Vec<Dependency> {
                vec![$($arg::dependency()),*]
            }

            fn call(&self, inputs: Vec<Vec<Instance>>) -> Fut {
                let mut _inputs = inputs.into_iter();
                self($($arg::extract(_inputs.next().expect("one input for each parameter"))),*)
            }
        }
    };
}

constructor_of!();
constructor_of!(A);
constructor_of!(A B);
constructor_of!(A B C);
constructor_of!(A B C D);
constructor_of!(A B C D E);
constructor_of!(A B C D E G);
constructor_of!(A B C D E G H);
constructor_of!(A B C D E G H I);
