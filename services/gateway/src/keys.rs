//! Who calls: API keys, looked up by their SHA-256 in the directory.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use trunkline_domain::directory::Directory;
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{CompanyId, Timestamp};
use trunkline_runtime::host::sources::Input;

/// The longest key that is looked at, in bytes.
const KEY_BYTES_MAX: usize = 512;

/// Whose key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Sees everything.
    Operator,
    /// Sees one company.
    Company(CompanyId),
}

impl Caller {
    /// Whether it may see this company.
    pub(crate) fn sees(&self, company_id: &str) -> bool {
        match self {
            Caller::Operator => true,
            Caller::Company(own) => own.as_str() == company_id,
        }
    }
}

/// The directory, as the gateway folds it.
#[derive(Default)]
pub(crate) struct Keys(Directory);

impl Projection for Keys {
    type Event = Input;

    fn fold(&mut self, input: &Input) {
        if let Input::Directory(_, delivered) = input {
            for recorded in &delivered.outcome.facts {
                self.0.fold(recorded);
            }
        }
    }
}

impl Keys {
    /// Whose key a request carries; `None` when it has none or it is unknown.
    pub(crate) fn caller(&self, headers: &HeaderMap, at: Timestamp) -> Option<Caller> {
        let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let key = key.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || key.is_empty() || key.len() > KEY_BYTES_MAX {
            return None;
        }
        // Looked up by digest: how long it takes says nothing about the key.
        let key = self.0.api_key(&hex::encode(Sha256::digest(key)), at)?;
        Some(match &key.company_id {
            Some(company_id) => Caller::Company(company_id.clone()),
            None => Caller::Operator,
        })
    }

    /// The companies a caller sees: id and name, by id.
    pub(crate) fn companies(&self, caller: &Caller, at: Timestamp) -> Vec<(String, String)> {
        self.0
            .companies(at)
            .filter(|company| caller.sees(company.company_id.as_str()))
            .map(|company| (company.company_id.to_string(), company.name.clone()))
            .collect()
    }
}
