use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::Error;
use super::assembly::{Assembly, Cells};
use super::key::{Key, Token, Unnamed};

/// The life of one unit of work, for example a request: each scoped component exists at most once in it.
///
/// Clones share the instances; they are dropped with the last clone. A scope costs one cell for
/// each binding of the container.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use mainstay_core::container::{Container, Dep};
/// use std::sync::Arc;
///
/// struct Transaction;
/// struct Transfer { transaction: Dep<Transaction> }
///
/// let mut builder = Container::builder();
/// builder.provide(|| async { Transaction }).scoped();
/// builder.provide(|transaction: Dep<Transaction>| async move { Transfer { transaction } }).scoped();
///
/// let request = builder.build().await?.scope();
/// let transfer = request.resolve::<Transfer>().await?;
/// let transaction: Arc<Transaction> = request.resolve().await?;
/// assert!(Arc::ptr_eq(&transaction, &transfer.transaction.clone().into_arc()));
/// # Ok::<_, mainstay_core::container::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Scope {
    assembly: Arc<Assembly>,
    cells: Arc<Cells>,
}

impl Scope {
    pub(super) fn new(assembly: Arc<Assembly>) -> Self {
        let cells = assembly.plan.nodes.iter().map(|_| OnceCell::new()).collect();
        Self { assembly, cells }
    }

    /// The component of type `T`: the container's singleton, this scope's instance, or a new
    /// transient.
    ///
    /// # Errors
    /// [`Error::NotProvided`], or [`Error::Construct`] when a constructor on the way fails. A failed
    /// instance is not kept; the next call builds again.
    ///
    /// # Cancellation
    /// Dropping the future drops the instance being built; a caller who waited for it builds it then.
    pub async fn resolve<T: ?Sized + Send + Sync + 'static>(&self) -> Result<Arc<T>, Error> {
        self.resolve_named::<T, Unnamed>().await
    }

    /// Like [`Scope::resolve`], for the binding named `K`.
    ///
    /// # Errors
    /// As [`Scope::resolve`].
    pub async fn resolve_named<T, K>(&self) -> Result<Arc<T>, Error>
    where
        T: ?Sized + Send + Sync + 'static,
        K: 'static,
    {
        let node = self.assembly.plan.find(Token::of::<T, K>())?;
        Ok(self.assembly.instance(node, Some(&self.cells)).await?.get())
    }

    /// Every contribution of type `T`, in the order of registration.
    ///
    /// # Errors
    /// [`Error::Construct`] as in [`Scope::resolve`].
    pub async fn resolve_all<T: ?Sized + Send + Sync + 'static>(&self) -> Result<Vec<Arc<T>>, Error> {
        let nodes = self.assembly.plan.contributions(Key::of::<T, Unnamed>());
        let mut all = Vec::with_capacity(nodes.len());
        for &node in nodes {
            all.push(self.assembly.instance(node, Some(&self.cells)).await?.get());
        }
        Ok(all)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}
