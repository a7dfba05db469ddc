//! What an operator may say about billing.

use serde::Deserialize;
use trunkline_domain::vocabulary::Millis;
use trunkline_runtime::config::within;
use trunkline_runtime::lease::TTL_DEFAULT;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BillingConfig {
    /// How long the lease of a cell lasts without renewal, in milliseconds: 300 to 60,000.
    pub lease_ttl_ms: i64,
}

impl Default for BillingConfig {
    fn default() -> Self {
        Self { lease_ttl_ms: TTL_DEFAULT.0 }
    }
}

impl BillingConfig {
    /// Checks everything that can be checked before a socket opens.
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        within("lease_ttl_ms", self.lease_ttl_ms, 300..=60_000)
    }

    /// The time to live of a lease.
    pub(crate) fn lease_ttl(&self) -> Millis {
        Millis(self.lease_ttl_ms)
    }
}
