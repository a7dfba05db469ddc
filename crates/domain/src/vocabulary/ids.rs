//! The one registry of typed ids. Alphabetical, append-only: a prefix is never reused.

use std::fmt;
use std::sync::Arc;

/// The longest id accepted, in bytes, prefix included.
pub const ID_LEN_MAX: usize = 64;

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: expected `{prefix}_` and 1 to 60 of a-z, 0-9, `-`")]
pub struct IdError {
    /// What was given, cut at 80 characters.
    pub text: String,
    /// The kind of id that was wanted.
    pub kind: &'static str,
    /// Its prefix.
    pub prefix: &'static str,
}

fn check(text: &str, prefix: &'static str, kind: &'static str) -> Result<(), IdError> {
    let ok = text.len() <= ID_LEN_MAX
        && text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
    if ok { Ok(()) } else { Err(IdError { text: text.chars().take(80).collect(), kind, prefix }) }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Written as its prefix, `_`, and 1 to 60 of `a-z`, `0-9`, `-`.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The prefix of every id of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// Reads an id.
            ///
            /// # Errors
            /// When the prefix is another one or a character is outside the alphabet.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text, $prefix, stringify!($name))?;
                Ok(Self(Arc::from(text)))
            }

            /// An id from the part after the prefix: a slug of the operator's, or what the mint made.
            ///
            /// # Errors
            /// When a character is outside the alphabet.
            pub fn from_name(name: &str) -> Result<Self, IdError> {
                Self::parse(&format!("{}_{name}", $prefix))
            }

            /// The whole id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }
    )*

    #[cfg(test)]
    const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

ids! {
    /// One person who serves contacts.
    AgentId "agt";
    /// Business hours and holidays.
    CalendarId "cal";
    /// A command sent to agent-state; a retry carries the same one.
    CommandId "cmd";
    /// A client company of the operator: the tenant.
    CompanyId "cmp";
    /// One caller's visit, from arrival to end.
    ContactId "ctc";
    /// What a client company pays, by version.
    ContractId "ctr";
    /// A telephone or desktop an agent is reached at.
    DeviceId "dev";
    /// One fact.
    EventId "evt";
    /// What a contact goes through on arrival.
    FlowId "flw";
    /// An issued invoice.
    InvoiceId "inv";
    /// A rated item: a function of the fact or segment it prices.
    ItemId "itm";
    /// One party's connection.
    LegId "leg";
    /// One process's identity for leases: minted at its first start, kept with its data.
    NodeId "nod";
    /// One contact proposed to one agent; also the name of the reservation behind it.
    OfferId "ofr";
    /// The outsourcer that runs the cluster.
    OperatorId "opr";
    /// Where contacts wait.
    QueueId "que";
    /// One sign-in of one agent, until sign-out.
    SessionId "ses";
    /// A place with agents and voters.
    SiteId "sit";
    /// What an agent can do and a contact may need.
    SkillId "skl";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_kind_and_its_text() {
        assert_eq!(AgentId::parse("agt_anna-3").unwrap().to_string(), "agt_anna-3");
        for bad in ["", "agt_", "agt", "agt_Anna", "que_anna", "agt_a b", "agt_ä"] {
            assert!(AgentId::parse(bad).is_err(), "{bad}");
        }
        assert!(AgentId::from_name(&"a".repeat(61)).is_err());
    }

    #[test]
    fn prefixes_are_unique_and_in_order_of_the_names() {
        let mut unique = PREFIXES.to_vec();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), PREFIXES.len());
    }
}
