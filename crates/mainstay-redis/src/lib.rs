//! Cache, locks and rate limits that many machines share, over Redis: standalone, Sentinel or Cluster.
//!
//! Everything goes through one [`Redis`]: it keeps the connections, knows which server has which key, fails at
//! once while the server is gone, and says of each command that failed whether it may have happened. On it lie the
//! stores of the primitives, one Lua script for each verb of their contracts.

mod answer;
pub mod cache;
mod command;
mod connection;
mod error;
pub mod event;
pub mod fence;
pub mod lock;
mod options;
pub mod rate_limit;
mod script;
mod status;
mod url;

pub use answer::Answer;
pub use command::{Arg, Class, Command, Lane};
pub use connection::{Bell, Invalidation, Redis, ServerTime, Witness};
pub use error::CallError;
pub use options::{Address, Deployment, Options};
pub use script::Script;
pub use status::{Finding, Primitive, ServerStatus, Severity, Status};
pub use url::InvalidUrl;
