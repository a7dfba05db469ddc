//! Rules about who may do what: agents, API keys, blocked callers.

use super::Check;
use crate::directory::Problem;
use crate::vocabulary::Channels;

const SIP_USER_LEN_MAX: usize = 64;

impl Check<'_> {
    pub(super) fn agents(&mut self) {
        let agents = &self.wanted.agents;
        self.unique(agents, "id", "agent", |it| it.agent_id.to_string());
        self.unique(agents, "sip_user", "SIP user", |it| it.sip_user.clone());
        for placed in agents {
            let (path, agent) = (&placed.path, &placed.wanted);
            self.name(path, &agent.name);
            self.cell(path, agent.cell);
            self.skills_of(&format!("{path}.skills"), &agent.skills);
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
            let user = &agent.sip_user;
            if user.is_empty() || user.len() > SIP_USER_LEN_MAX || !user.bytes().all(plain) {
                let reason = format!("a SIP user is 1 to {SIP_USER_LEN_MAX} of A-Z, a-z, 0-9, `.`, `_`, `-`");
                self.problem(format!("{path}.sip_user"), reason);
            }
            self.digest(format!("{path}.sip_ha1_md5"), &agent.sip_ha1_md5, 32);
            self.digest(format!("{path}.sip_ha1_sha256"), &agent.sip_ha1_sha256, 64);
            if let Err(error) = Channels::new(agent.channels.iter().cloned()) {
                self.problem(format!("{path}.channels"), error.to_string());
            }
            if let Some(company_id) = &agent.team_company_id {
                let path = format!("{path}.team_company");
                let company_cell = self.company_known(path.clone(), company_id);
                self.same_cell(path, company_cell, agent.cell);
            }
            let known = self.directory.agent(&agent.agent_id, self.effective_at);
            if let Some(known) = known.filter(|known| known.cell != agent.cell) {
                let reason = format!("an agent cannot move between cells: it is in cell {}", known.cell);
                self.problem(format!("{path}.cell"), reason);
            }
        }
    }

    pub(super) fn api_keys(&mut self) {
        let keys = &self.wanted.api_keys;
        self.unique(keys, "name", "API key", |it| it.name.clone());
        for (index, placed) in keys.iter().enumerate() {
            let (path, key) = (&placed.path, &placed.wanted);
            self.name(path, &key.name);
            self.digest(format!("{path}.key_sha256"), &key.key_sha256, 64);
            if let Some(first) = keys[..index].iter().find(|it| it.wanted.key_sha256 == key.key_sha256) {
                self.problems.push(Problem {
                    path: format!("{path}.key_sha256"),
                    reason: format!("this is the key of {} already", first.wanted.name),
                    other: Some(format!("{}.key_sha256", first.path)),
                });
            }
            if let Some(company_id) = &key.company_id {
                self.company_known(format!("{path}.company"), company_id);
            }
        }
    }

    pub(super) fn blocklist(&mut self) {
        let entries = &self.wanted.blocklist;
        self.unique(entries, "number", "blocked number", |it| it.key());
        for placed in entries {
            if placed.wanted.reason.trim().is_empty() {
                self.problem(format!("{}.reason", placed.path), "an auditor will ask why: say a reason");
            }
            if let Some(company_id) = &placed.wanted.company_id {
                self.company_known(format!("{}.company", placed.path), company_id);
            }
        }
    }

    fn digest(&mut self, path: String, text: &str, digits: usize) {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != digits || !text.bytes().all(hex) {
            self.problem(path, format!("a digest here is {digits} hex digits in lower case"));
        }
    }
}
