//! The configuration of the roles that a benchmark starts.

use std::path::Path;

use siji_collector::hash_token;

use super::process::free_port;
use crate::commands::token;
use crate::failure::Failure;

/// Where the roles of a benchmark are, and the token of their door.
pub struct Site {
    /// `host:port` of the collector.
    pub collector: String,
    /// `host:port` of the query server.
    pub server: String,
    /// `host:port` of the aggregator's health.
    pub aggregator: String,
    /// `host:port` of the embedded broker's health.
    pub broker: String,
    pub token: String,
    config: String,
}

/// What differs between benchmarks.
pub struct Shape<'a> {
    pub city: &'a str,
    /// Area that the collector stands for and its token covers.
    pub area: &'a str,
    /// Kafka; the embedded broker of this site if absent.
    pub brokers: Option<&'a str>,
    pub topic: &'a str,
    pub partitions: u16,
}

impl Site {
    /// A site with everything below `directory`.
    pub fn new(directory: &Path, shape: &Shape<'_>) -> Result<Site, Failure> {
        let address = || Ok::<_, Failure>(format!("127.0.0.1:{}", free_port()?));
        let (collector, server, aggregator) = (address()?, address()?, address()?);
        let (kafka, broker) = (address()?, address()?);
        let token = token::draw();
        let Shape {
            city,
            area,
            brokers,
            topic,
            partitions,
        } = shape;
        let brokers = brokers.unwrap_or(&kafka);
        let config = format!(
            "[reference]\ncities = [{city:?}]\n\
             [log]\nlevel = \"warn\"\n\
             [lake]\nlocation = {lake:?}\n\
             [kafka]\nbrokers = {brokers:?}\ntopic = {topic:?}\npartitions = {partitions}\n\
             [server]\nlisten = {server:?}\n\
             [admin]\naggregator = {aggregator:?}\nbroker = {broker:?}\n\
             [broker]\nlisten = {kafka:?}\ndata_dir = {stored:?}\n\
             [collector]\nlisten = {collector:?}\nsource_id = \"bench\"\narea = {area:?}\ndata_dir = {spool:?}\n\
             [collector.spool]\nmax_bytes = 17179869184\n\
             [[collector.tokens]]\nname = \"bench\"\nsha256 = {hash:?}\nareas = [{area:?}]\n\
             max_events_per_second = 100000000\n",
            lake = directory.join("lake"),
            spool = directory.join("spool"),
            stored = directory.join("broker"),
            hash = hash_token(&token),
        );
        Ok(Site {
            collector,
            server,
            aggregator,
            broker,
            token,
            config,
        })
    }

    /// The configuration file.
    pub fn config(&self) -> &str {
        &self.config
    }
}
