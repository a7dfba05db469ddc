//! What is going on now.

use super::contacts::Contacts;
use super::timesheet::{Activity, Agents};
use crate::vocabulary::{CompanyId, Timestamp};

/// Live counts of one company. Agents serve several companies, so they are counted over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveBoard {
    /// Contacts not ended.
    pub live_contact_count: u32,
    /// Of these, waiting in a queue.
    pub waiting_count: u32,
    /// Of these, in conversation.
    pub talking_count: u32,
    /// Since when the longest waits.
    pub longest_waiting_since: Option<Timestamp>,
    /// Agents that could take a contact now: ready, with a device that can be called.
    pub ready_agent_count: u32,
    /// Agents signed in.
    pub signed_in_agent_count: u32,
}

/// The live counts of one company.
pub fn live_board(contacts: &Contacts, agents: &Agents, company_id: &CompanyId) -> LiveBoard {
    let mut board = LiveBoard::default();
    for record in contacts.live().filter(|it| it.company_id.as_ref() == Some(company_id)) {
        board.live_contact_count += 1;
        board.talking_count += u32::from(record.talking());
        if let Some(visit) = record.open_visit() {
            board.waiting_count += 1;
            let since = board.longest_waiting_since.map_or(visit.entered_at, |it| it.min(visit.entered_at));
            board.longest_waiting_since = Some(since);
        }
    }
    for (session, sheet) in agents.sheets().values().filter_map(|it| Some((it.session.as_ref()?, it))) {
        board.signed_in_agent_count += 1;
        let ready = session.account().activity == Activity::Idle && !sheet.devices.is_empty();
        board.ready_agent_count += u32::from(ready);
    }
    board
}
