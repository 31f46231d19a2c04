//! What an event is, everywhere in siji: the record as Rust, Arrow and Avro, the words and areas it may use, and the
//! rules that decide whether it is accepted.
//!
//! Nothing here does I/O at run time except loading reference files; every decision is a pure function.
#![deny(missing_docs)]

pub mod area;
pub mod arrow;
pub mod avro;
pub mod body;
pub mod buckets;
pub mod catalogue;
pub mod event;
pub mod json;
pub mod lock;
pub mod personal;
pub mod refusal;
pub mod trace;
pub mod validate;
pub mod vocabulary;
pub mod wire;

pub use event::{Event, EventRef};
pub use refusal::{Code, Refusal};
