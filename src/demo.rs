//! The demo: a whole pipeline in one process on a real city, and an account of every event it sent.

pub mod city;
pub mod districts;
pub mod feed;
pub mod generate;
pub mod outcome;
pub mod published;
pub mod site;
pub mod totals;
