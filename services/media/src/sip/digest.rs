//! Digest access authentication as a server (RFC 7616, RFC 8760, RFC 3261 §22): MD5 and SHA-256, `qop=auth`.
//!
//! A nonce says when it was made and is signed, so that nothing is kept for one that is never used. Of a used one the
//! highest count is kept until it expires: the same or a lower count is a replay.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use sha2::Sha256;
use trunkline_domain::vocabulary::{Millis, Timestamp};

use super::fields::split_list;

/// The protection space of every phone.
pub const REALM: &str = "trunkline";

/// How long a nonce may be used.
const NONCE_AGE_MAX: Millis = Millis(300_000);
/// How many used nonces are kept; beyond, the oldest become stale.
const USED_COUNT_MAX: usize = 100_000;

/// What the credentials of a request are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are right, and fresh.
    Granted,
    /// There are none, or none we can check.
    Missing,
    /// They are right, but the nonce is too old, not ours, or its count was seen: ask again with `stale=true`.
    Stale,
    /// They are wrong.
    Wrong,
}

/// A hash of RFC 7616.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// For phones that know no better.
    Md5,
    /// The one to prefer.
    Sha256,
}

impl Algorithm {
    /// Both, in the order of our challenges.
    ///
    /// RFC 8760 §2.4 says that the most preferred comes first, and that a client takes the first it supports; we offer MD5
    /// first all the same, because phones that know only MD5 are known to look at the first challenge alone.
    pub const ALL: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha256];

    fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    fn hex(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex::encode(Md5::digest(text.as_bytes())),
            Algorithm::Sha256 => hex::encode(Sha256::digest(text.as_bytes())),
        }
    }
}

/// The credentials of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it claims to be.
    pub username: String,
    algorithm: Algorithm,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    cnonce: String,
    qop: String,
    nc: String,
}

impl Credentials {
    /// Reads the value of `Authorization`; `None` when it is not a Digest we could check.
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let params: BTreeMap<String, String> = split_list(rest)
            .iter()
            .filter_map(|part| part.split_once('='))
            .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
            .collect();
        let take = |name: &str| params.get(name).cloned();
        let algorithm = match take("algorithm").map(|name| name.to_ascii_uppercase()).as_deref() {
            None | Some("MD5") => Algorithm::Md5,
            Some("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        Some(Self {
            username: take("username")?,
            algorithm,
            realm: take("realm")?,
            nonce: take("nonce")?,
            uri: take("uri")?,
            response: take("response")?.to_ascii_lowercase(),
            cnonce: take("cnonce").unwrap_or_default(),
            qop: take("qop").unwrap_or_default(),
            nc: take("nc").unwrap_or_default(),
        })
    }

    /// The hash the claimed user's `HA1` must be of.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// Makes challenges and checks answers.
#[derive(Debug)]
pub struct Guard {
    secret: [u8; 32],
    used: BTreeMap<String, (Timestamp, u32)>,
}

impl Guard {
    /// A guard whose nonces nobody else can make.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret, used: BTreeMap::new() }
    }

    /// The values of `WWW-Authenticate`, one an algorithm.
    pub fn challenges(&self, now: Timestamp, salt: u64, stale: bool) -> Vec<String> {
        let nonce = self.nonce(now, salt);
        let stale = if stale { ", stale=true" } else { "" };
        Algorithm::ALL
            .into_iter()
            .map(|algorithm| {
                let name = algorithm.name();
                format!(r#"Digest realm="{REALM}", nonce="{nonce}", algorithm={name}, qop="auth"{stale}"#)
            })
            .collect()
    }

    /// Judges credentials for `method`, against the user's stored `HA1` (`None` for an unknown user).
    pub fn check(
        &mut self,
        now: Timestamp,
        method: &str,
        credentials: &Credentials,
        ha1: Option<&str>,
    ) -> Verdict {
        let Credentials { algorithm, nonce, nc, cnonce, qop, uri, .. } = credentials;
        if qop != "auth" || credentials.realm != REALM {
            return Verdict::Missing;
        }
        let Some(ha1) = ha1.filter(|ha1| !ha1.is_empty()) else { return Verdict::Wrong };
        let ha2 = algorithm.hex(&format!("{method}:{uri}"));
        let expected =
            algorithm.hex(&format!("{}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}", ha1.to_ascii_lowercase()));
        if !same(expected.as_bytes(), credentials.response.as_bytes()) {
            return Verdict::Wrong;
        }
        let (Some(made_at), Ok(count)) = (self.made_at(nonce), u32::from_str_radix(nc, 16)) else {
            return Verdict::Stale;
        };
        if now.since(made_at) > NONCE_AGE_MAX || made_at > now + Millis(1_000) {
            return Verdict::Stale;
        }
        self.forget(now);
        let full = self.used.len() >= USED_COUNT_MAX;
        match self.used.get_mut(nonce) {
            Some((_, highest)) if count <= *highest => Verdict::Stale,
            Some((_, highest)) => {
                *highest = count;
                Verdict::Granted
            }
            None if count == 0 || full => Verdict::Stale,
            None => {
                self.used.insert(nonce.clone(), (made_at, count));
                Verdict::Granted
            }
        }
    }

    fn nonce(&self, now: Timestamp, salt: u64) -> String {
        let head = format!("{:012x}{salt:016x}", now.0);
        format!("{head}{}", hex::encode(&hmac(&self.secret, head.as_bytes())[..16]))
    }

    /// When a nonce of ours was made.
    fn made_at(&self, nonce: &str) -> Option<Timestamp> {
        let head = nonce.get(..28)?;
        let seal = hex::encode(&hmac(&self.secret, head.as_bytes())[..16]);
        let ours = same(seal.as_bytes(), nonce.get(28..)?.as_bytes());
        ours.then(|| i64::from_str_radix(&head[..12], 16).ok().map(Timestamp)).flatten()
    }

    /// Nonces begin with their time, so the oldest are first.
    fn forget(&mut self, now: Timestamp) {
        while self.used.first_key_value().is_some_and(|(_, (at, _))| now.since(*at) > NONCE_AGE_MAX) {
            self.used.pop_first();
        }
    }
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// Compares without telling by its time where the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HA1: &str = "anna:trunkline:secret";

    fn answer(guard: &Guard, algorithm: Algorithm, now: i64, nc: u32, password_ha1: &str) -> Credentials {
        let nonce = guard.nonce(Timestamp(now), 7);
        let ha2 = algorithm.hex("REGISTER:sip:trunkline");
        let nc = format!("{nc:08x}");
        let response = algorithm.hex(&format!("{password_ha1}:{nonce}:{nc}:abc:auth:{ha2}"));
        let name = algorithm.name();
        let value = format!(
            r#"Digest username="anna",realm="trunkline",nonce="{nonce}",uri="sip:trunkline",response="{response}",algorithm={name},cnonce="abc",qop=auth,nc={nc}"#
        );
        Credentials::parse(&value).unwrap()
    }

    #[test]
    fn right_credentials_are_granted_once_per_count_and_wrong_ones_never() {
        for algorithm in Algorithm::ALL {
            let mut guard = Guard::new([7; 32]);
            let ha1 = algorithm.hex(HA1);
            let good = answer(&guard, algorithm, 1_000, 1, &ha1);
            let next = answer(&guard, algorithm, 1_000, 2, &ha1);
            let bad = answer(&guard, algorithm, 1_000, 3, &algorithm.hex("anna:trunkline:wrong"));
            let foreign = answer(&Guard::new([8; 32]), algorithm, 1_000, 1, &ha1);
            let mut check = |at: i64, credentials: &Credentials, ha1: Option<&str>| {
                guard.check(Timestamp(at), "REGISTER", credentials, ha1)
            };
            assert_eq!(check(2_000, &good, None), Verdict::Wrong);
            assert_eq!(check(2_000, &bad, Some(&ha1)), Verdict::Wrong);
            assert_eq!(check(2_000, &foreign, Some(&ha1)), Verdict::Stale);
            assert_eq!(check(2_000, &good, Some(&ha1)), Verdict::Granted);
            assert_eq!(check(2_000, &good, Some(&ha1)), Verdict::Stale, "replayed");
            assert_eq!(check(2_000, &next, Some(&ha1)), Verdict::Granted);
            assert_eq!(check(1_000_000, &next, Some(&ha1)), Verdict::Stale, "too old");
        }
    }

    #[test]
    fn the_hmac_is_that_of_rfc_4231() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex::encode(hmac(&key, b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
