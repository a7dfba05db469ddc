//! /livez, /readyz and gRPC health: ready means caught up, not merely started.
//!
//! A component that serves, but not as it would like to, is ready with a *remark*: a standby that waits for its turn, a
//! media node that spools its facts. Remarks are shown, and take nothing out of service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// What a component says until it says something else.
const STARTING: &str = "starting";

/// What the parts of a process say of themselves. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Health(Arc<Shared>);

struct Shared {
    components: Mutex<BTreeMap<&'static str, State>>,
    ready: watch::Sender<bool>,
}

/// What a part says of itself.
enum State {
    Ready,
    Remarking(String),
    NotReady(String),
}

/// One part of a process, not ready until it says so.
#[derive(Clone)]
pub struct Component {
    health: Health,
    name: &'static str,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// A process of which no part has reported yet, which is not ready.
    pub fn new() -> Self {
        let (ready, _) = watch::channel(false);
        Self(Arc::new(Shared { components: Mutex::new(BTreeMap::new()), ready }))
    }

    /// Adds a part, as `routing/fold`, not ready for the reason `starting`. A name added again starts again.
    pub fn component(&self, name: &'static str) -> Component {
        self.put(name, State::NotReady(STARTING.to_owned()));
        Component { health: self.clone(), name }
    }

    /// Whether there is at least one component and all of them are ready.
    pub fn ready(&self) -> bool {
        *self.0.ready.borrow()
    }

    /// Why it is not ready: component and reason, by component. Empty when ready.
    pub fn reasons(&self) -> Vec<(String, String)> {
        let components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        if components.is_empty() {
            return vec![("process".to_owned(), "no component has reported yet".to_owned())];
        }
        let said = components.iter().filter_map(|(name, state)| match state {
            State::NotReady(reason) => Some(((*name).to_owned(), reason.clone())),
            State::Ready | State::Remarking(_) => None,
        });
        said.collect()
    }

    /// What components that are ready want to be known: component and remark, by component.
    pub fn remarks(&self) -> Vec<(String, String)> {
        let components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        let said = components.iter().filter_map(|(name, state)| match state {
            State::Remarking(remark) => Some(((*name).to_owned(), remark.clone())),
            State::Ready | State::NotReady(_) => None,
        });
        said.collect()
    }

    /// The components that have registered, by name.
    pub fn names(&self) -> Vec<&'static str> {
        let components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.keys().copied().collect()
    }

    /// Follows [`Health::ready`].
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }

    /// Resolves once ready. Cancel-safe.
    pub async fn became_ready(&self) {
        let mut ready = self.watch();
        // The sender lives in `self`: the channel cannot close while we wait.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    fn put(&self, name: &'static str, state: State) {
        let mut components = self.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        components.insert(name, state);
        let ready = !components.values().any(|state| matches!(state, State::NotReady(_)));
        self.0.ready.send_if_modified(|was| std::mem::replace(was, ready) != ready);
    }
}

impl Component {
    /// It has caught up and serves.
    pub fn ready(&self) {
        self.health.put(self.name, State::Ready);
    }

    /// It serves, and this should be known: a short phrase for the operator, as `stands by: nod_x has routing/0`.
    pub fn ready_with(&self, remark: impl Into<String>) {
        self.health.put(self.name, State::Remarking(remark.into()));
    }

    /// Whether it said last that it is ready.
    pub fn is_ready(&self) -> bool {
        let components = self.health.0.components.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(components.get(self.name), Some(State::Ready | State::Remarking(_)))
    }

    /// It does not serve as it should, and why: a short phrase for the operator, as `waits for lease routing/0`.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.health.put(self.name, State::NotReady(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_component_is() {
        let health = Health::new();
        assert!(!health.ready());
        assert_eq!(health.reasons()[0].0, "process");
        let fold = health.component("routing/fold");
        let lease = health.component("routing/lease");
        fold.ready();
        assert_eq!(health.reasons(), vec![("routing/lease".to_owned(), "starting".to_owned())]);
        lease.ready();
        assert!(health.ready());
        assert!(health.reasons().is_empty());
        lease.not_ready("lost");
        assert!(!health.ready());
        assert_eq!(health.reasons(), vec![("routing/lease".to_owned(), "lost".to_owned())]);
        lease.ready_with("stands by");
        assert!(health.ready() && lease.is_ready() && health.reasons().is_empty());
        assert_eq!(health.remarks(), vec![("routing/lease".to_owned(), "stands by".to_owned())]);
    }
}
