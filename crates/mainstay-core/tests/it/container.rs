//! Promises of `container`.
