//! Load shedding: the decision, and a server in virtual time.

mod decisions;
mod overload;
