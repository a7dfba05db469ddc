//! The operator's document: what the whole configuration shall be, in YAML.
//!
//! A document states everything: what it leaves out is retired. Ids are written whole, with their prefix. A key that is
//! not listed here is refused, with its line.
//!
//! ```yaml
//! operator:
//!   id: opr_northwind
//!   name: Northwind Contact Services
//!   time_zone: Europe/Berlin            # IANA; the months of invoices are months here
//!   not_ready_reasons:                  # optional: why agents may be not ready; without, any word will do
//!     - reason: lunch
//!       limit: 30m                      # optional: told when a pause lasts longer
//!
//! skills:
//!   - id: skl_german
//!     name: German
//!
//! calendars:                            # business hours, in local wall time
//!   - id: cal_office
//!     time_zone: Europe/Berlin
//!     open:                             # DAYS HH:MM-HH:MM; days: mon, mon-fri, mon,wed,fri, daily; 24:00 is the day's end
//!       - mon-fri 08:00-18:00
//!       - sat 09:00-13:00
//!     closed_dates: [2026-12-25, 2026-12-26]      # optional
//!
//! companies:                            # the client companies
//!   - id: cmp_aurora
//!     name: Aurora Travel GmbH          # as on invoices
//!     cell: 0                           # optional, 0: the partition; never changes
//!     service_level_threshold: 20s      # answered within this counts
//!     queues:
//!       - id: que_aurora
//!         name: Aurora bookings
//!         required_skills: [skl_german] # optional; an agent needs all of them. Each is a skill, at some level, or not, or one
//!                                       # of several: skl_german >= 5, skl_german 3-7, not skl_trainee, skl_german or skl_dutch
//!         priority: 0                   # optional, 0; smaller is served first, -1000 to 1000
//!         tier: 0                       # optional, 0; a smaller tier is served first whatever the priorities, 0 to 100
//!         head_start: 90s               # optional, 0s: served as if it had come so much earlier
//!         ageing:                       # optional: its priority changes while it waits
//!           every: 30s
//!           by: 1                       # optional, 1: becomes smaller by so much each time
//!           most: 10                    # by so much altogether
//!         strategy: longest_idle        # optional; whom of those who could a contact gets: longest_idle, fewest_contacts,
//!                                       # least_talk_time, round_robin, random, linear, most_skilled, fewest_skills
//!         idle_since: available         # optional; what idle time is counted from: available, last_contact, sign_in
//!         prefer: [skl_berlin]          # optional: who fulfils the first of these comes first, whatever the strategy, then …
//!         steps:                        # optional: what changes for who has waited so long here, ascending
//!           - after: 30s
//!             required_skills: [skl_german >= 3]  # optional: needed instead from then on
//!             priority: -10                       # optional: from then on
//!           - after: 5m
//!             overflow: que_everybody             # optional; the last step: goes to another queue, and keeps its time
//!         offer_timeout: 15s            # how long an agent's phone rings, 1s to 5m
//!         wrap_up: 30s                  # optional, 0s: after-contact work, at most 8h
//!         wait_max: 10m                 # optional, 0s: no limit; then the contact flows out
//!         waiting_count_max: 50         # optional, 0: no limit; more are turned away
//!         miss_count_max: 3             # optional, 0: never; offers missed in a row until the agent is not ready
//!         miss_reason: missed offers    # optional, missed offers: why the agent is not ready then
//!         miss_return: 5m               # optional, 0s: when it is ready again by itself; without, when it says so
//!         wrap_up_mode: timed           # optional, timed: it ends at its deadline or when the agent says so; timed_forced:
//!                                       # not before its deadline; mandatory: no deadline, only the agent ends it;
//!                                       # on_request: only when the agent asked while it talked; none
//!         wrap_up_code: optional        # optional; or required: the agent says what the contact came to
//!         wrap_up_extension_max: 2m     # optional, 0s: by how much an agent may put the end off, altogether
//!         reoffer_after: 30s            # optional, 30s: how long an agent that missed a contact is not offered it again
//!     flows:                            # what a call goes through
//!       - id: flw_aurora
//!         calendar: cal_office          # optional; always open without
//!         greeting_prompt: welcome      # optional; names in the prompt library, without extension
//!         closed_prompt: vm-goodbye     # optional
//!         music: macroform-cold_day     # optional
//!         queue: que_aurora             # one of this company's
//!     numbers:                          # what callers dial, E.164
//!       - number: "+49 30 5550 1001"
//!         flow: flw_aurora              # one of this company's
//!     contracts:                        # what it pays; a version never changes, a change is a new version
//!       - id: ctr_aurora-talk
//!         version: 1                    # 1, 2, 3, …
//!         effective_from: 2026-01-01    # optional: a day in the operator's zone, or an instant as 2026-01-01T00:00:00Z;
//!                                       # without, the day the version is first applied
//!         unit: talk_time               # talk_time, work_time (talk, hold, wrap-up) or signed_in_time (needs team_company)
//!         price: 0.12 EUR per minute    # or per hour; at most six decimals
//!         first_increment: 6s           # the least charged for one piece of work
//!         increment: 6s                 # beyond, rounded up to whole ones of these
//!         monthly_minimum: 500.00 EUR   # optional
//!
//! agents:
//!   - id: agt_anna
//!     name: Anna
//!     cell: 0                           # optional, 0; never changes
//!     site: sit_berlin                  # optional
//!     skills: [skl_german 7]            # optional; at a level of 1 to 10, without one at the highest
//!     sip_user: "1001"                  # unique; A-Z a-z 0-9 . _ -
//!     sip_password: s3cret              # only its digests for the realm `trunkline` are kept; or both of these instead:
//!     # sip_ha1_md5: <hex of MD5 over user:trunkline:password>
//!     # sip_ha1_sha256: <hex of SHA-256 over user:trunkline:password>
//!     team_company: cmp_aurora          # optional: whose contract by signed_in_time pays for this agent
//!     channels:                         # optional: one call at a time when none is named
//!       - channel: voice                # voice, chat, email or task
//!       - channel: chat
//!         capacity: 3                   # optional, 1: how many at once, at most 25; of voice 1
//!         interrupted_by: [voice]       # optional: what is offered on top of one under way; of all else, nothing is
//!
//! api_keys:                             # optional
//!   - name: aurora-portal
//!     key_sha256: <hex of SHA-256 over the key>
//!     company: cmp_aurora               # optional: the one company it may see; without, it is the operator's own
//!
//! blocklist:                            # optional: callers who hear busy
//!   - number: "+49 30 5550 6666"
//!     company: cmp_aurora               # optional: only for this company
//!     reason: threats
//! ```
//!
//! Spans are written `250ms`, `4s`, `2m`, `8h` or put together, as `1m30s`.

mod lower;
mod plans;
mod scalars;
mod schema;

use std::collections::BTreeMap;

use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{DefaultMessageFormatter, Location, MessageFormatter};
use trunkline_domain::directory::{Problem, Wanted};

/// The largest document accepted, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// What a document says, and where it says it.
#[derive(Debug)]
pub struct Document {
    /// What the configuration shall be.
    pub wanted: Wanted,
    places: Places,
}

/// One reason why a document cannot be applied, for a person with an editor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlacedProblem {
    /// From 1; 0 when it is about the document as a whole.
    pub line_number: u32,
    /// From 1; 0 when unknown.
    pub column_number: u32,
    /// What is wrong, in words.
    pub reason: String,
}

/// Where each part of a document stands, by its path.
#[derive(Debug, Default)]
struct Places(BTreeMap<String, (u32, u32)>);

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// The first problem of syntax or shape; or, when there is none, every value that cannot be understood, by place.
    pub fn read(text: &str) -> Result<Self, Vec<PlacedProblem>> {
        if text.len() > DOCUMENT_BYTES_MAX {
            let reason =
                format!("a document has at most {DOCUMENT_BYTES_MAX} bytes, this has {}", text.len());
            return Err(vec![PlacedProblem { line_number: 0, column_number: 0, reason }]);
        }
        let options = serde_saphyr::options! {
            with_snippet: false,
            duplicate_keys: DuplicateKeyPolicy::Error,
            merge_keys: MergeKeyPolicy::Error,
            budget: serde_saphyr::budget! {
                max_depth: 16,
                max_documents: 1,
                max_anchors: 1_000,
                max_aliases: 1_000,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: 20_000,
                max_replay_stack_depth: 4,
            },
        };
        let document: schema::Document =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| vec![shape(&error)])?;
        lower::lower(&document)
    }

    /// Puts problems of the rules where the document has them, in order of place.
    pub fn place(&self, problems: &[Problem]) -> Vec<PlacedProblem> {
        self.places.place(problems)
    }
}

impl Places {
    fn put(&mut self, path: String, location: Location) {
        self.0.insert(path, at(location));
    }

    /// The place of a path, or of the nearest thing around it.
    fn of(&self, path: &str) -> (u32, u32) {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return *place;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return (0, 0),
            }
        }
    }

    fn place(&self, problems: &[Problem]) -> Vec<PlacedProblem> {
        let mut placed: Vec<PlacedProblem> = problems
            .iter()
            .map(|problem| {
                let (line_number, column_number) = self.of(&problem.path);
                let reason = match problem.other.as_ref().map(|other| self.of(other).0) {
                    Some(line) if line != 0 => format!("{}; see line {line}", problem.reason),
                    _ => problem.reason.clone(),
                };
                PlacedProblem { line_number, column_number, reason }
            })
            .collect();
        placed.sort();
        placed.dedup();
        placed
    }
}

fn at(location: Location) -> (u32, u32) {
    let number = |number: u64| u32::try_from(number).unwrap_or(0);
    (number(location.line()), number(location.column()))
}

/// A problem of syntax or shape, in our words where serde's speak of Rust.
fn shape(error: &serde_saphyr::Error) -> PlacedProblem {
    use serde_saphyr::Error as E;
    let error = error.without_snippet();
    let (line_number, column_number) = error.location().map_or((0, 0), at);
    let reason = match error {
        E::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`; known here: {}", expected.join(", "))
        }
        E::SerdeMissingField { field, .. } => format!("key `{field}` is missing"),
        E::DuplicateMappingKey { key: Some(key), .. } => format!("key `{key}` stands twice"),
        E::NullIntoString { .. } => "a value is missing".to_owned(),
        E::Eof { .. } => "the document is empty".to_owned(),
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. }
        | E::AliasReplayCounterOverflow { .. } => {
            "the document is too deep or has too many aliases".to_owned()
        }
        E::Unexpected { expected: "mapping start", .. } => "expected keys with values".to_owned(),
        E::Unexpected { expected: "sequence start", .. } => "expected a list".to_owned(),
        E::Unexpected { expected: "string scalar", .. } => "expected a text".to_owned(),
        E::InvalidScalar { ty: "i64", .. } => "expected a whole number".to_owned(),
        E::AliasError { error, .. } => shape(error).reason,
        other => DefaultMessageFormatter.format_message(other).into_owned(),
    };
    PlacedProblem { line_number, column_number, reason }
}
