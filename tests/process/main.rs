//! The real program: how it starts, what it prints, what it withstands, how it ends.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

mod audit;
mod backup;
mod bytes;
mod command;
mod damage;
mod database;
mod demo;
mod doctor;
mod hostile;
mod import;
mod keys;
mod kill;
mod logs;
mod metrics;
mod migrating;
mod program;
mod readme;
mod requirements;
mod secrets;
mod sessions;
mod slow;
mod smuggling;
mod soak;
mod start;
mod switch;
mod token;
mod verbs;
