//! From an INVITE to the first input of a contact: who calls whom, what the directory says, and a place for the audio.

use std::sync::PoisonError;

use trunkline_domain::directory::Directory;
use trunkline_domain::facts::Queue;
use trunkline_domain::media::{Invited, Plan, QueueTerms, Service};
use trunkline_domain::vocabulary::{Cell, ContactEndCause, Millis, PhoneNumber, Timestamp};
use trunkline_runtime::telemetry::names::attribute;

use crate::contact_task::Arrival;
use crate::legs::{CODECS, CallerLeg, Session};
use crate::shell::Node;
use crate::sip::dialog::Dialog;
use crate::sip::fields::{NameAddr, Uri};
use crate::sip::message::Message;
use crate::sip::stack::ServerTransaction;
use crate::trace::Trace;

/// What the directory says of a call.
struct Found {
    plan: Plan,
    cell: Cell,
    shown_as: String,
}

/// Looks everything up that the contact's first decision needs.
pub(crate) fn arrive(node: &Node, transaction: ServerTransaction) -> Arrival {
    let ServerTransaction { request: invite, source, arrived_at: at, responder, .. } = transaction;
    let contact_id = node.platform.mint.contact();
    let trace = Trace::begin(&node.platform.telemetry, &contact_id);
    let caller_number = calling(&invite);
    let dialled = invite.uri().and_then(number_of);
    let (found, directory_revision) = {
        let directory = node.directory.read().unwrap_or_else(PoisonError::into_inner);
        let found = look_up(&directory, caller_number.as_ref(), dialled.as_ref(), node.config.ring_ms, at);
        (found, directory.revision())
    };
    let Found { mut plan, cell, shown_as } = found;
    let to_tag = node.stack.unique();
    let dialog = Dialog::of_caller(&invite, &to_tag, source);
    let mut caller = CallerLeg {
        invite,
        responder,
        to_tag,
        dialog,
        session: None,
        description: String::new(),
        answered: false,
        settled: false,
        bye_waits: None,
    };
    if let Plan::Serve(service) = &plan {
        let refuse = |cause, status| Plan::Refuse {
            company_id: Some(service.company_id.clone()),
            flow_id: Some(service.flow_id.clone()),
            cause,
            status,
        };
        if node.contact_count() >= node.config.contact_count_max {
            plan = refuse(ContactEndCause::Overloaded, None);
        } else if caller.dialog.is_none() {
            plan = refuse(ContactEndCause::SignallingFailed, Some(400));
        } else {
            match describe(node, &caller.invite) {
                Ok((session, description)) => {
                    caller.session = Some(session);
                    caller.description = description;
                }
                Err(status) => {
                    let overloaded = status == 503;
                    let cause = if overloaded {
                        ContactEndCause::Overloaded
                    } else {
                        ContactEndCause::SignallingFailed
                    };
                    plan = refuse(cause, Some(status));
                }
            }
        }
    }
    trace.note(attribute::SIP_CALL_ID, caller.invite.call_id());
    let invited = Invited {
        contact_id,
        node_id: node.platform.node_id.clone(),
        leg_id: node.platform.mint.leg(),
        sip_call_id: caller.invite.call_id().chars().take(200).collect(),
        caller: caller_number,
        dialled,
        directory_revision,
        plan,
    };
    Arrival { invited, cell, caller, trace, at, shown_as }
}

fn look_up(
    directory: &Directory,
    caller: Option<&PhoneNumber>,
    dialled: Option<&PhoneNumber>,
    ring_ms: i64,
    at: Timestamp,
) -> Found {
    let unknown = || Found {
        plan: Plan::Refuse {
            company_id: None,
            flow_id: None,
            cause: ContactEndCause::UnknownNumber,
            status: None,
        },
        cell: Cell(0),
        shown_as: String::new(),
    };
    let Some(number) = dialled.and_then(|dialled| directory.number(dialled, at)) else { return unknown() };
    let Some(company) = directory.company(&number.company_id, at) else { return unknown() };
    let (company_id, flow_id) = (number.company_id.clone(), number.flow_id.clone());
    if caller.is_some_and(|caller| directory.blocked(caller, Some(&company_id), at)) {
        let (company_id, flow_id) = (Some(company_id), Some(flow_id));
        let plan = Plan::Refuse { company_id, flow_id, cause: ContactEndCause::Blocked, status: None };
        return Found { plan, cell: company.cell, shown_as: String::new() };
    }
    let flow = directory.flow(&flow_id, at);
    let queue = flow.and_then(|flow| directory.queue(&flow.queue_id, at));
    let (Some(flow), Some(queue)) = (flow, queue) else { return unknown() };
    let hours = flow.calendar_id.clone().map(|calendar_id| {
        let open = directory.open(&calendar_id, at);
        (calendar_id, open)
    });
    let service = Service {
        company_id,
        flow_id,
        hours,
        ring_ms: Millis(ring_ms),
        greeting_prompt: flow.greeting_prompt.clone(),
        closed_prompt: flow.closed_prompt.clone(),
        music: flow.music.clone(),
        queue: terms(queue),
    };
    let shown_as = shown(&format!("{}: {}", company.name, queue.name));
    Found { plan: Plan::Serve(Box::new(service)), cell: company.cell, shown_as }
}

/// A queue, as far as one contact needs it.
pub(crate) fn terms(queue: &Queue) -> QueueTerms {
    QueueTerms {
        queue_id: queue.queue_id.clone(),
        priority: queue.priority,
        required_skills: queue.required_skills.clone(),
        wait_ms_max: queue.wait_ms_max,
    }
}

/// Ports for the caller's audio and the body of our 200; the status to refuse with otherwise.
fn describe(node: &Node, invite: &Message) -> Result<(Session, String), u16> {
    let media = node.plane.allocate(node.rtp_ip).map_err(|error| {
        tracing::warn!(%error, "no audio for a caller's leg");
        503u16
    })?;
    let random = node.platform.mint.random();
    let mut session = Session::new(media, node.stack.advertised().ip(), random, CODECS.to_vec());
    let description = if invite.body.is_empty() { Ok(session.offer()) } else { session.answer(&invite.body) };
    match description {
        Ok(description) => Ok((session, description)),
        Err(()) => {
            let (plane, leg) = (node.plane.clone(), media.handle);
            tokio::spawn(async move { drop(plane.free(leg).await) });
            Err(488)
        }
    }
}

/// A display name that cannot break out of its quotes.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).take(80).collect()
}

/// Who calls: the asserted identity of a trunk we trust (RFC 3325), else From.
fn calling(invite: &Message) -> Option<PhoneNumber> {
    let asserted = invite.list("p-asserted-identity");
    asserted
        .iter()
        .map(String::as_str)
        .chain(invite.value("from"))
        .find_map(|value| number_of(&NameAddr::parse(value)?.uri))
}

/// The E.164 number in a URI's user part: `+49…`, or its digits without the plus.
fn number_of(uri: &str) -> Option<PhoneNumber> {
    let user = Uri::parse(uri)?.user;
    let user = user.split(';').next()?;
    let digits = user.strip_prefix('+').or_else(|| user.strip_prefix("00")).unwrap_or(user);
    PhoneNumber::parse(&format!("+{digits}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_however_the_trunk_writes_it() {
        for uri in [
            "sip:+4930123456@x",
            "sip:4930123456@x:5060",
            "sip:004930123456@x",
            "tel:+49-30-123456",
            "sip:%2B4930123456;npdi@x",
        ] {
            assert_eq!(number_of(uri).unwrap().reveal(), "+4930123456", "{uri}");
        }
        for uri in ["sip:anna@x", "sip:x", "sip:0301234567@x", "mailto:x"] {
            assert_eq!(number_of(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_shown_name_stays_inside_its_quotes() {
        assert_eq!(shown("A\"CME\\\r\n: Sales"), "ACME: Sales");
    }
}
