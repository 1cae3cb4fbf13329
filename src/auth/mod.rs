//! The rules: who may do what, and how secrets are made and checked. It knows no HTTP and no SQL.

pub mod account;
pub mod admin;
pub mod audit;
pub mod code;
pub mod common;
pub mod cursor;
pub mod email;
pub mod foreign;
pub mod hasher;
pub mod import;
pub mod keys;
pub mod limits;
mod metrics;
pub mod outbox;
pub mod password;
pub mod random;
pub mod recovery;
pub mod refresh;
pub mod revocation;
pub mod ring;
pub mod rotation;
pub mod secrets;
mod seen;
pub mod session;
pub mod token;
pub mod upkeep;
