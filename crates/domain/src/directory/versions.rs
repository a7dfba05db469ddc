//! Definitions of one kind, by key and effective date.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::kernel::StateHasher;
use crate::vocabulary::Timestamp;

/// From when a version counts, and the revision that made it; later revisions win at the same instant.
pub(super) type Since = (Timestamp, u64);

/// Every version of every definition of one kind. `None` is a retirement.
#[derive(Clone)]
pub(super) struct Table<T> {
    by_key: BTreeMap<String, BTreeMap<Since, Option<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new() }
    }
}

impl<T: Debug> Table<T> {
    /// Puts a version, or with `None` a retirement, in its place. The same one again changes nothing.
    pub(super) fn put(&mut self, key: String, since: Since, definition: Option<T>) {
        self.by_key.entry(key).or_default().insert(since, definition);
    }

    /// The version in force at an instant.
    pub(super) fn get(&self, key: &str, at: Timestamp) -> Option<&T> {
        in_force(self.by_key.get(key)?, at)
    }

    /// Every definition in force at an instant, by key.
    pub(super) fn all(&self, at: Timestamp) -> impl Iterator<Item = &T> {
        self.by_key.values().filter_map(move |versions| in_force(versions, at))
    }

    /// Every definition in force at an instant with its key, by key.
    pub(super) fn entries(&self, at: Timestamp) -> impl Iterator<Item = (&str, &T)> {
        self.by_key.iter().filter_map(move |(key, versions)| Some((key.as_str(), in_force(versions, at)?)))
    }

    /// When anything of this kind changes next after an instant.
    pub(super) fn next_change_after(&self, at: Timestamp) -> Option<Timestamp> {
        let behind = (at, u64::MAX);
        self.by_key
            .values()
            .filter_map(|versions| versions.range(behind..).map(|((since, _), _)| *since).find(|it| *it > at))
            .min()
    }

    /// Adds every version to a digest. Keys are hashed whole: a value's `Debug` may be redacted.
    pub(super) fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.number(self.by_key.len() as i128);
        for (key, versions) in &self.by_key {
            hasher.text(key).number(versions.len() as i128);
            for ((since, revision), definition) in versions {
                hasher.number(i128::from(since.0)).number(i128::from(*revision)).debug(definition);
            }
        }
    }
}

fn in_force<T>(versions: &BTreeMap<Since, Option<T>>, at: Timestamp) -> Option<&T> {
    versions.range(..=(at, u64::MAX)).next_back().and_then(|(_, definition)| definition.as_ref())
}
