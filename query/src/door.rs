//! The ways in. Each turns its protocol into a [`Session`](crate::Session)'s query and a result into its bytes; none knows
//! a table.

pub mod http;
pub mod remote;
