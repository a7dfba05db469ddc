//! Entries that change the state, of any size.

use std::ops::Range;

use openraft::EntryPayload;
use prost::Message;
use trunkline_agent_state::door;
use trunkline_agent_state::raft::types::{Entry, Proposed};
use trunkline_domain::agent_state::Machine;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action;

use super::dice::Dice;

const AGENTS: [&str; 3] = ["agt_anna", "agt_ben", "agt_cem"];

/// A payload of commands with these numbers.
pub fn batch(numbers: Range<u64>, dice: &mut Dice) -> Vec<u8> {
    let commands = numbers.map(|number| command(number, dice)).collect();
    api::LoggedBatch { commands }.encode_to_vec()
}

fn command(number: u64, dice: &mut Dice) -> api::LoggedCommand {
    let command_id = format!("cmd_{number}");
    let agent_id = dice.pick(&AGENTS).to_owned();
    let action = match dice.below(8) {
        0 => Action::DefineRoster(api::DefineRosterRequest {
            command_id,
            directory_revision: number,
            agents: AGENTS
                .map(|id| api::RosterAgent { agent_id: id.to_owned(), cell: 1, channels: Vec::new() })
                .to_vec(),
            queues: Vec::new(),
            reasons: Vec::new(),
        }),
        1..=2 => {
            let session_id = format!("ses_{number}");
            Action::SignIn(api::SignInRequest { command_id, agent_id, session_id, ..Default::default() })
        }
        3..=4 => Action::GoReady(api::GoReadyRequest { command_id, agent_id, ..Default::default() }),
        _ => {
            let reason = "r".repeat(dice.between(1, 200) as usize);
            let request = api::GoNotReadyRequest { command_id, agent_id, reason, ..Default::default() };
            Action::GoNotReady(request)
        }
    };
    let proposed_at_ms = 1_000 * number.cast_signed();
    api::LoggedCommand { proposed_at_ms, traceparent: String::new(), action: Some(action) }
}

/// What applying an entry does to the machine; a rejection changes it as well.
pub fn fold(machine: &mut Machine, entry: &Entry) {
    let EntryPayload::Normal(Proposed(batch)) = &entry.payload else { return };
    for command in door::commands(batch).unwrap() {
        let _ = machine.apply(entry.log_id.index, entry.log_id.leader_id.term, command);
    }
    machine.take_touched();
}
