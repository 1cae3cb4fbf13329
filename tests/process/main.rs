//! The real program: how it starts, what it prints, what it withstands, how it ends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod command;
mod demo;
mod hostile;
mod logs;
mod program;
mod readme;
mod start;
