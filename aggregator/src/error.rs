use siji_lake::LakeError;

use crate::consume::ConsumeError;
use crate::position::Partition;
use crate::reader::LedgerReadError;
use crate::settle::NotLoaded;
use crate::topic::TopicError;

/// Why aggregation stopped.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// The lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The topic or the broker.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The consumer.
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    /// Reading the ledger back.
    #[error(transparent)]
    Read(#[from] LedgerReadError),
    /// A fault of the program.
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
    /// Building batches.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Nothing works without a configuration that makes sense.
    #[error("configuration: {0}")]
    Config(String),
    /// A partition went to another member of the group before what was taken of it was committed.
    #[error("partition {} went to another aggregator before it was committed", .0.0)]
    Revoked(Partition),
    /// A stopped partition may go on.
    #[error("an operator accepted offsets of partition {}", .0.0)]
    Accepted(Partition),
    /// A thread ended without a word.
    #[error("the {0} thread failed")]
    Thread(&'static str),
    /// The shutdown took too long.
    #[error(
        "{0} did not finish in time; what is not in the lake is read from Kafka again at the next start"
    )]
    Late(String),
}

impl AggregatorError {
    /// Whether starting over may help: another writer, a store or broker that was away for a moment.
    pub fn may_pass(&self) -> bool {
        match self {
            AggregatorError::Lake(error) => {
                matches!(
                    error,
                    LakeError::Conflict { .. } | LakeError::Store(_) | LakeError::Missing { .. }
                )
            }
            AggregatorError::Topic(error) => matches!(error, TopicError::Unreachable { .. }),
            AggregatorError::Read(error) => error.may_pass(),
            // Whoever starts over would throw the other one out, and be thrown out by it.
            AggregatorError::Consume(ConsumeError::Fenced) => false,
            AggregatorError::Consume(_)
            | AggregatorError::Revoked(_)
            | AggregatorError::Accepted(_) => true,
            _ => false,
        }
    }
}
