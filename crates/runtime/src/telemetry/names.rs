//! Every name of a span, a metric and an attribute, with unit and meaning.
//!
//! Metric names are dotted; Prometheus sees `_` for `.`, `_total` behind counters and `_seconds` behind durations.

/// Upper bounds of the buckets of every duration, in seconds.
pub const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0,
    300.0, 900.0, 3600.0,
];

macro_rules! metrics {
    ($($name:ident $text:literal $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $text;)*
        const METRICS: &[(&str, &str)] = &[$(($text, $meaning)),*];
    };
}

/// What a metric means, as one sentence; `None` for a name that is not in this file.
pub fn meaning(metric: &str) -> Option<&'static str> {
    METRICS.iter().find(|(name, _)| *name == metric).map(|(_, meaning)| *meaning)
}

metrics! {
    // media
    CONTACTS_ARRIVED "trunkline.media.contacts.arrived" "Contacts that arrived.";
    CONTACTS_ENDED "trunkline.media.contacts.ended" "Contacts that ended, by cause.";
    CONTACTS_LIVE "trunkline.media.contacts.live" "Contacts that have not ended.";
    SIP_MESSAGES_REFUSED "trunkline.media.sip.messages.refused" "SIP messages that could not be taken, by reason.";
    RTP_PACKETS_RECEIVED "trunkline.media.rtp.packets.received" "RTP packets taken in by legs that are over.";
    RTP_PACKETS_SENT "trunkline.media.rtp.packets.sent" "RTP packets sent by legs that are over.";
    RTP_PACKETS_LOST "trunkline.media.rtp.packets.lost" "RTP packets that legs that are over expected and never got.";
    RTP_PACKETS_DROPPED "trunkline.media.rtp.packets.dropped" "RTP packets dropped by legs that are over, by reason.";
    // routing
    QUEUE_WAITING "trunkline.routing.contacts.waiting" "Contacts waiting now.";
    CONTACTS_TURNED_AWAY "trunkline.routing.contacts.turned_away" "Contacts that found their queue full.";
    ROUTING_WAIT "trunkline.routing.wait.duration" "How long contacts waited for an agent.";
    OFFERS_MADE "trunkline.routing.offers.made" "Offers made.";
    OFFERS_CLOSED "trunkline.routing.offers.closed" "Offers closed, by outcome.";
    // agent-state
    RAFT_APPLIED_INDEX "trunkline.agent_state.raft.applied_index" "The last Raft index applied.";
    RAFT_LEADS "trunkline.agent_state.raft.leads" "1 while this replica leads, else 0.";
    RAFT_TERM "trunkline.agent_state.raft.term" "The current Raft term.";
    COMMANDS_APPLIED "trunkline.agent_state.commands.applied" "Commands applied, by command and outcome.";
    OUTBOX_LAG "trunkline.agent_state.outbox.lag" "Raft indexes applied and not yet published.";
    LEASES_HELD "trunkline.agent_state.leases.held" "Leases held now.";
    // the event log
    LOG_RECORDS_APPENDED "trunkline.log.records.appended" "Records made durable, by log.";
    LOG_BYTES_APPENDED "trunkline.log.bytes.appended" "Bytes made durable, by log.";
    LOG_APPEND "trunkline.log.append.duration" "How long a record took to be durable, by log.";
    LOG_APPENDS_FAILED "trunkline.log.appends.failed" "Appends that failed, by log and reason.";
    SPOOL_RECORDS "trunkline.log.spool.records" "Records that wait in the spool for the log.";
    SPOOL_BYTES "trunkline.log.spool.bytes" "Bytes that wait in the spool for the log.";
    SPOOL_EPISODES "trunkline.log.spool.episodes" "Times the facts of a partition went to the spool because the log did not take them.";
    // hosts
    OWNER_RESTARTS "trunkline.host.owner.restarts" "Times an owner began again from its lease, by resource kind and reason.";
    FOLD_POSITION "trunkline.host.fold.position" "The last position folded, by service, log and cell.";
    FACTS_FOLDED "trunkline.host.facts.folded" "Facts folded, by service and log.";
    // billing and reporting
    ITEMS_RATED "trunkline.billing.items.rated" "Items rated.";
    ITEMS_UNRATED "trunkline.billing.items.unrated" "Pieces of work without a price, by reason.";
    // gateway
    HTTP_REQUESTS "trunkline.gateway.requests" "Requests answered, by method and status.";
    HTTP_REQUEST_DURATION "trunkline.gateway.request.duration" "How long requests took, by method.";
    // the registry itself
    METRICS_SERIES_DROPPED "trunkline.metrics.series.dropped" "Series not kept because there are too many.";
}

/// Names of spans, in the order a contact meets them.
pub mod span {
    /// The whole contact, from INVITE to its end. Media; root.
    pub const CONTACT: &str = "contact";
    /// The INVITE, until the flow begins. Media; child of `contact`.
    pub const INVITE: &str = "contact.invite";
    /// The flow: hours, greeting. Media; child of `contact.invite`.
    pub const FLOW: &str = "contact.flow";
    /// One queue visit, from entry to answer, abandon or flow-out. Routing; child of `contact.flow`.
    pub const QUEUE: &str = "contact.queue";
    /// One turn's reservations for the contact. Routing; child of `contact.queue`.
    pub const RESERVE: &str = "agent.reserve";
    /// One offer, until it is answered or over. Routing; child of `agent.reserve`.
    pub const OFFER: &str = "contact.offer";
    /// The agent's device is called. Media; child of `contact.offer`.
    pub const ALERT: &str = "offer.alert";
    /// The answer is put to agent-state. Media; child of `offer.alert` or `contact.offer`.
    pub const ACCEPT: &str = "reservation.accept";
    /// Caller and agent hear each other. Media; child of `reservation.accept`.
    pub const BRIDGE: &str = "contact.bridge";
    /// The hang-up and its facts. Media; child of `contact.bridge`.
    pub const HANG_UP: &str = "contact.hang_up";
    /// The contact counts in a report cell. Reporting; child of what its fact carries.
    pub const REPORT_CELL: &str = "report.cell";
    /// A piece of work is priced. Billing; child of what its fact carries.
    pub const RATE: &str = "invoice.item";
    /// A Raft command from proposal to apply. Agent-state; child of the request.
    pub const RAFT_APPLY: &str = "raft.apply";
    /// A request over REST. Gateway; root unless the client sends a context.
    pub const HTTP_REQUEST: &str = "http.request";
}

/// Names of attributes. No telephone numbers, names or secrets.
pub mod attribute {
    /// `ctc_…`.
    pub const CONTACT_ID: &str = "trunkline.contact.id";
    /// `agt_…`.
    pub const AGENT_ID: &str = "trunkline.agent.id";
    /// `que_…`.
    pub const QUEUE_ID: &str = "trunkline.queue.id";
    /// `cmp_…`.
    pub const COMPANY_ID: &str = "trunkline.company.id";
    /// `ofr_…`.
    pub const OFFER_ID: &str = "trunkline.offer.id";
    /// `nod_…`.
    pub const NODE_ID: &str = "trunkline.node.id";
    /// `itm_…`.
    pub const ITEM_ID: &str = "trunkline.item.id";
    /// The name of the end, as `completed`.
    pub const CAUSE: &str = "trunkline.cause";
    /// How something came out, as `granted`.
    pub const OUTCOME: &str = "trunkline.outcome";
    /// Unix time in ms of the start of a report cell.
    pub const CELL_START: &str = "trunkline.report.from_ms";
    /// OpenTelemetry: `GET`, `POST`.
    pub const HTTP_METHOD: &str = "http.request.method";
    /// OpenTelemetry: the path as annotated, ids left out.
    pub const HTTP_ROUTE: &str = "http.route";
    /// OpenTelemetry: the status.
    pub const HTTP_STATUS: &str = "http.response.status_code";
    /// OpenTelemetry: the SIP Call-ID of the caller's leg.
    pub const SIP_CALL_ID: &str = "sip.call_id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_name_is_ours_unique_and_explained() {
        let mut names: Vec<&str> = METRICS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for (name, meaning) in METRICS {
            assert!(name.starts_with("trunkline."), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'_')), "{name}");
            assert!(meaning.ends_with('.'), "{name}");
        }
    }
}
