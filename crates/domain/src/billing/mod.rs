//! Rating: facts and contracts to rated items, items to invoice lines.
