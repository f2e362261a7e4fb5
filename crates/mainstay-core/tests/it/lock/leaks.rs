//! Futures are dropped after every number of polls, guards at every moment; afterwards nothing is left.
