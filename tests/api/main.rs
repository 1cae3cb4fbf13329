//! Through the real router, on a real database file a test. Fakes: the clock, and the cost of a hash.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may")]

mod account;
mod admin;
mod ahead;
mod answer;
mod app;
mod audit;
mod clock;
mod email;
mod forge;
mod forged;
mod guard;
mod http;
mod import;
mod keys;
mod limits;
mod memory;
mod metrics;
mod mutations;
mod openapi;
mod outbox;
mod pages;
mod properties;
mod races;
mod recovery;
mod refresh;
mod revocations;
mod ring;
mod secrets;
mod seen;
mod session;
mod sessions;
mod store;
mod upkeep;
mod writer;
