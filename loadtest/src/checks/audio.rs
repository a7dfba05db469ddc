//! Who heard whom: each caller speaks a tone of its own, each phone sends back what it hears.

use crate::checks::{Check, Findings};
use crate::ear::tone_share;

/// A packet is a tone when so much of its power is.
const TONE_SHARE_MIN: f64 = 0.8;
/// Of a talk, so long is left out at each end, in ms: packets on their way.
const MARGIN_MS: i64 = 150;
/// Of a talk's packets so many must be the caller's own tone, in percent.
const OWN_TONE_PERCENT_MIN: usize = 90;

pub(super) fn checks(findings: &Findings<'_>) -> Vec<Check> {
    let (mut silent_legs, mut deaf, mut faint, mut foreign) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let tones: Vec<u32> = findings.plan.calls.iter().map(|call| call.tone_hz).collect();
    for (index, told) in findings.told() {
        let Some(heard) = findings.evidence.heard.get(index) else { continue };
        if told.status == 200 && heard.packets.is_empty() {
            deaf.push(index);
        }
        let Some((from_us, to_us)) = told.talk else { continue };
        let (received, sent) = findings.contact_of(index).map(|it| it.rtp).unwrap_or_default();
        if received == 0 || sent == 0 {
            silent_legs.push(index);
        }
        let during = (from_us / 1_000 + MARGIN_MS)..(to_us / 1_000 - MARGIN_MS);
        let talk: Vec<&[u8]> = heard
            .packets
            .iter()
            .filter(|(at, payload_type, _)| during.contains(at) && *payload_type == 0)
            .map(|(_, _, payload)| payload.as_slice())
            .collect();
        let own = findings.plan.calls[index].tone_hz;
        let count = |tone: u32| talk.iter().filter(|it| tone_share(it, tone) >= TONE_SHARE_MIN).count();
        let length_ms = (during.end - during.start).max(0) as usize;
        if count(own) * 100 < length_ms / 20 * OWN_TONE_PERCENT_MIN {
            faint.push(format!("call {index}: {} of {} packets", count(own), length_ms / 20));
        }
        foreign.extend(
            tones
                .iter()
                .filter(|tone| **tone != own && count(**tone) > 0)
                .map(|tone| format!("call {index} heard {tone} Hz")),
        );
    }
    let served = |agent: usize| findings.told().any(|(_, it)| it.agent == Some(agent));
    let mute: Vec<usize> = findings
        .evidence
        .agents
        .iter()
        .enumerate()
        .filter(|(agent, log)| served(*agent) && log.echo_count == 0)
        .map(|(agent, _)| agent)
        .collect();
    vec![
        Check::same("every answered caller heard audio", "[]", format!("{deaf:?}")),
        Check::same("every caller leg of a talk counts RTP both ways", "[]", format!("{silent_legs:?}")),
        Check::same("every phone that talked heard audio (sipp's echo counter)", "[]", format!("{mute:?}")),
        Check::same("in a talk each caller hears its own tone back from the phone", "", faint.join("; ")),
        Check::same("in a talk nobody hears anybody else", "", foreign.join("; ")),
    ]
}
