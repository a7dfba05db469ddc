//! What an operator may say about routing.

use serde::Deserialize;
use trunkline_domain::vocabulary::Millis;
use trunkline_runtime::config::within;

/// How long a lease lasts without renewal, unless said otherwise. A standby owns within 3 s after the owner was last heard
/// of: two for this, and one to ask, to fence the log and to read what is left of it.
const LEASE_TTL_DEFAULT: Millis = Millis(2_000);

/// Section `routing`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingConfig {
    /// How long the lease of a cell lasts without renewal, in milliseconds: 300 to 60,000. Above 2,000 a standby takes
    /// longer than 3 s.
    pub lease_ttl_ms: i64,
}

impl Default for RoutingConfig {
    fn default() -> Self {
        Self { lease_ttl_ms: LEASE_TTL_DEFAULT.0 }
    }
}

impl RoutingConfig {
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
