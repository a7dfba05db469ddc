//! The shell kit: everything a service needs to run, and nothing of the business.
//!
//! A service is put together in this order: [`config`] is read and checked whole, [`telemetry`] starts, the
//! [`event_log`] is opened, the [`grpc`] server answers with [`health`] not ready, leases are taken ([`lease`]),
//! folds catch up, health turns ready; [`shutdown`] drains in reverse.

pub mod agent_state_client;
pub mod clock;
pub mod config;
mod error_chain;
pub mod event_log;
pub mod facts;
pub mod grpc;
pub mod health;
pub mod host;
pub mod lease;
pub mod mint;
pub mod platform;
pub mod shutdown;
pub mod spool;
pub mod telemetry;

pub use error_chain::error_chain;
