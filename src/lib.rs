//! Hallpass: a self-hosted authentication server. One binary, one SQLite file.
//!
//! Three rooms and a hall; arrows go one way:
//!
//! ```text
//! main ─ cli ─ config ─ log            starts things
//!          └── app                     the parts, shared by every request
//! api ───────▶ auth ───────▶ store     HTTP ▶ rules ▶ SQL
//!   └────────────┴─────────────┴──▶ model
//!   └────────────┴──▶ error, clock, json, mail, templates, metrics; error knows what the store's errors are to a caller
//! ```
//!
//! A feature is one file name in each room: `api/session.rs` ▶ `auth/session.rs` ▶ `store/session.rs`.

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod json;
pub mod log;
pub mod mail;
pub mod metrics;
pub mod model;
pub mod store;
pub mod templates;
