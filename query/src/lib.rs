//! SQL over the lake: one engine, thin doors.
//!
//! ```text
//! door (http, command line) --> Session (principal) --> Engine: parse, refuse, pin, plan, run --> RowStream --> format
//!                                                          |
//!                                   catalogue (tables and views) --> provider (files of one snapshot) --> Parquet scan
//! ```
//!
//! - **Reading only.** One statement at a time, and only statements that read; nothing can name a file or a store.
//! - **One version a query.** Every table is pinned at its first use and named in the answer.
//! - **Bounded.** Time, memory, rows and the size of the SQL itself have limits; over a limit is an error that says so,
//!   never a shorter answer.
#![deny(missing_docs)]

mod catalogue;
pub mod door;
mod engine;
mod error;
pub mod format;
mod functions;
mod grain;
mod limits;
mod parameters;
mod provider;

pub use catalogue::description::{ColumnDescription, TableDescription, describe};
pub use door::http::{HttpOptions, TokenHash, router, serve};
pub use door::remote::{RemoteAnswer, ask_remote, run_sql_remote};
pub use engine::{
    Engine, EngineOptions, Principal, QueryOptions, QueryResult, RowStream, Session,
    check_condition,
};
pub use error::QueryError;
pub use limits::Limits;
pub use parameters::Parameters;
