//! From the document's shape to core types: every scalar is understood, or is a problem with its place.
//!
//! A value that cannot be understood is replaced by a stand-in, so that all problems are found in one go; a document
//! with a problem never leaves this module.

use std::fmt::Display;
use std::str::FromStr;

use md5::{Digest, Md5};
use serde_saphyr::Spanned;
use sha2::Sha256;
use trunkline_domain::directory::{CalendarError, Placed, Problem, Wanted, WantedContract, day_start};
use trunkline_domain::facts::{
    Agent, ApiKey, BlocklistEntry, Calendar, Company, Contract, Flow, NotReadyReason, Number, Operator,
    Queue, Skill, UsageUnit, WrapUpMode,
};
use trunkline_domain::vocabulary::{
    Cell, Channel, ChannelRule, CompanyId, Currency, IdError, Millis, Money, PhoneNumber, Timestamp,
};

use super::schema::{self, Text, Whole};
use super::{Document, PlacedProblem, Places, scalars};

/// The realm of SIP digests (RFC 7616): the operator's telephones know it by this name.
pub const SIP_REALM: &str = "trunkline";

#[derive(Default)]
pub(super) struct Lower {
    places: Places,
    problems: Vec<Problem>,
    time_zone: String,
}

pub(super) fn lower(document: &schema::Document) -> Result<Document, Vec<PlacedProblem>> {
    let mut lower = Lower { time_zone: document.operator.value.time_zone.value.clone(), ..Lower::default() };
    let operator = lower.one("operator".to_owned(), &document.operator, Lower::operator);
    let mut wanted = Wanted {
        operator,
        skills: lower.all("skills", &document.skills, Lower::skill),
        calendars: lower.all("calendars", &document.calendars, Lower::calendar),
        companies: Vec::new(),
        queues: Vec::new(),
        flows: Vec::new(),
        numbers: Vec::new(),
        contracts: Vec::new(),
        agents: lower.all("agents", &document.agents, Lower::agent),
        api_keys: lower.all("api_keys", &document.api_keys, Lower::api_key),
        blocklist: lower.all("blocklist", &document.blocklist, Lower::blocklist_entry),
    };
    for (index, node) in document.companies.iter().enumerate() {
        let path = format!("companies[{index}]");
        let company = lower.one(path.clone(), node, Lower::company);
        let (id, node) = (company.wanted.company_id.clone(), &node.value);
        wanted.companies.push(company);
        let under = |part: &str| format!("{path}.{part}");
        wanted
            .queues
            .extend(lower.all(&under("queues"), &node.queues, |it, at, node| it.queue(at, node, &id)));
        wanted.flows.extend(lower.all(&under("flows"), &node.flows, |it, at, node| it.flow(at, node, &id)));
        wanted
            .numbers
            .extend(lower.all(&under("numbers"), &node.numbers, |it, at, node| it.number(at, node, &id)));
        wanted.contracts.extend(
            lower.all(&under("contracts"), &node.contracts, |it, at, node| it.contract(at, node, &id)),
        );
    }
    if lower.problems.is_empty() {
        Ok(Document { wanted, places: lower.places })
    } else {
        Err(lower.places.place(&lower.problems))
    }
}

impl Lower {
    pub(super) fn one<N, T>(
        &mut self,
        path: String,
        node: &Spanned<N>,
        read: impl FnOnce(&mut Self, &str, &N) -> T,
    ) -> Placed<T> {
        self.places.put(path.clone(), node.referenced);
        let wanted = read(self, &path, &node.value);
        Placed { path, wanted }
    }

    pub(super) fn all<N, T>(
        &mut self,
        path: &str,
        nodes: &[Spanned<N>],
        mut read: impl FnMut(&mut Self, &str, &N) -> T,
    ) -> Vec<Placed<T>> {
        nodes
            .iter()
            .enumerate()
            .map(|(index, node)| {
                self.one(format!("{path}[{index}]"), node, |it, at, node| read(it, at, node))
            })
            .collect()
    }

    pub(super) fn problem(&mut self, path: String, reason: impl Display) {
        self.problems.push(Problem { path, reason: reason.to_string(), other: None });
    }

    fn text(&mut self, at: &str, key: &str, node: &Text) -> String {
        self.places.put(format!("{at}.{key}"), node.referenced);
        node.value.clone()
    }

    fn optional_text(&mut self, at: &str, key: &str, node: Option<&Text>) -> String {
        node.map(|node| self.text(at, key, node)).unwrap_or_default()
    }

    /// Understands a scalar with `read`; its stand-in when that fails.
    pub(super) fn read<T, E: Display>(
        &mut self,
        path: String,
        node: &Text,
        stand_in: T,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> T {
        self.places.put(path.clone(), node.referenced);
        match read(&node.value) {
            Ok(value) => value,
            Err(why) => {
                self.problem(path, why);
                stand_in
            }
        }
    }

    pub(super) fn id<T: FromStr<Err = IdError>>(&mut self, at: &str, key: &str, node: &Text) -> T {
        let path = format!("{at}.{key}");
        self.places.put(path.clone(), node.referenced);
        node.value.parse().unwrap_or_else(|why: IdError| {
            let stand_in = format!("{}_stand-in", why.prefix);
            self.problem(path, why);
            stand_in.parse().expect("a prefix, an underscore and plain letters are an id")
        })
    }

    /// Texts in a small language, each at its own place.
    pub(super) fn texts<T: FromStr<Err: Display>>(&mut self, path: &str, nodes: &[Text]) -> Vec<T> {
        let texts = nodes.iter().enumerate().map(|(index, node)| {
            let path = format!("{path}[{index}]");
            self.places.put(path.clone(), node.referenced);
            node.value.parse().map_err(|why: T::Err| self.problem(path, why)).ok()
        });
        texts.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    pub(super) fn span(&mut self, at: &str, key: &str, node: &Text) -> Millis {
        self.read(format!("{at}.{key}"), node, Millis::ZERO, scalars::span)
    }

    pub(super) fn span_or(&mut self, at: &str, key: &str, node: Option<&Text>, default: Millis) -> Millis {
        node.map_or(default, |node| self.span(at, key, node))
    }

    fn number_of(&mut self, at: &str, node: &Text) -> PhoneNumber {
        let stand_in = PhoneNumber::parse("+10000000").expect("a plus and eight digits are a number");
        self.read(format!("{at}.number"), node, stand_in, PhoneNumber::parse)
    }

    pub(super) fn whole<T: TryFrom<i64> + Default>(
        &mut self,
        at: &str,
        key: &str,
        node: Option<&Whole>,
        what: &str,
    ) -> T {
        let Some(node) = node else { return T::default() };
        let path = format!("{at}.{key}");
        self.places.put(path.clone(), node.referenced);
        T::try_from(node.value).unwrap_or_else(|_| {
            self.problem(path, format!("{} is not {what}", node.value));
            T::default()
        })
    }

    fn operator(&mut self, at: &str, node: &schema::Operator) -> Operator {
        Operator {
            operator_id: self.id(at, "id", &node.id),
            name: self.text(at, "name", &node.name),
            time_zone: self.text(at, "time_zone", &node.time_zone),
            not_ready_reasons: self
                .all(&format!("{at}.not_ready_reasons"), &node.not_ready_reasons, Self::not_ready_reason)
                .into_iter()
                .map(|placed| placed.wanted)
                .collect(),
        }
    }

    fn not_ready_reason(&mut self, at: &str, node: &schema::NotReadyReason) -> NotReadyReason {
        NotReadyReason {
            reason: self.text(at, "reason", &node.reason),
            limit_ms: self.span_or(at, "limit", node.limit.as_ref(), Millis::ZERO),
        }
    }

    fn skill(&mut self, at: &str, node: &schema::Skill) -> Skill {
        Skill { skill_id: self.id(at, "id", &node.id), name: self.text(at, "name", &node.name) }
    }

    fn calendar(&mut self, at: &str, node: &schema::Calendar) -> Calendar {
        let calendar_id = self.id(at, "id", &node.id);
        self.places.put(format!("{at}.open"), node.open.referenced);
        let mut open = Vec::new();
        for (index, node) in node.open.value.iter().enumerate() {
            open.extend(self.read(format!("{at}.open[{index}]"), node, Vec::new(), scalars::opening));
        }
        let closed_dates = node.closed_dates.iter().enumerate().map(|(index, node)| {
            self.places.put(format!("{at}.closed_dates[{index}]"), node.referenced);
            node.value.clone()
        });
        let closed_dates = closed_dates.collect();
        Calendar { calendar_id, time_zone: self.text(at, "time_zone", &node.time_zone), open, closed_dates }
    }

    fn company(&mut self, at: &str, node: &schema::Company) -> Company {
        Company {
            company_id: self.id(at, "id", &node.id),
            name: self.text(at, "name", &node.name),
            cell: Cell(self.whole(at, "cell", node.cell.as_ref(), "a cell: 0, 1, 2, …")),
            service_level_threshold_ms: self.span(
                at,
                "service_level_threshold",
                &node.service_level_threshold,
            ),
        }
    }

    fn queue(&mut self, at: &str, node: &schema::Queue, company_id: &CompanyId) -> Queue {
        let count = "a count: 0 or more";
        Queue {
            queue_id: self.id(at, "id", &node.id),
            company_id: company_id.clone(),
            name: self.text(at, "name", &node.name),
            required_skills: self.texts(&format!("{at}.required_skills"), &node.required_skills),
            priority: self.whole(at, "priority", node.priority.as_ref(), "a priority"),
            offer_timeout_ms: self.span(at, "offer_timeout", &node.offer_timeout),
            wrap_up_ms: self.span_or(at, "wrap_up", node.wrap_up.as_ref(), Millis::ZERO),
            wait_ms_max: self.span_or(at, "wait_max", node.wait_max.as_ref(), Millis::ZERO),
            waiting_count_max: self.whole(at, "waiting_count_max", node.waiting_count_max.as_ref(), count),
            miss_count_max: self.whole(at, "miss_count_max", node.miss_count_max.as_ref(), count),
            reoffer_after_ms: self.span_or(
                at,
                "reoffer_after",
                node.reoffer_after.as_ref(),
                Millis::from_secs(30),
            ),
            wrap_up_mode: self.wrap_up_mode(at, node.wrap_up_mode.as_ref()),
            wrap_up_code_required: self.wrap_up_code(at, node.wrap_up_code.as_ref()),
            wrap_up_extension_ms_max: self.span_or(
                at,
                "wrap_up_extension_max",
                node.wrap_up_extension_max.as_ref(),
                Millis::ZERO,
            ),
            miss_reason: self.optional_text(at, "miss_reason", node.miss_reason.as_ref()),
            miss_return_ms: self.span_or(at, "miss_return", node.miss_return.as_ref(), Millis::ZERO),
            plan: self.plan(at, node),
        }
    }

    fn wrap_up_mode(&mut self, at: &str, node: Option<&Text>) -> WrapUpMode {
        let Some(node) = node else { return WrapUpMode::default() };
        self.read(format!("{at}.wrap_up_mode"), node, WrapUpMode::default(), |text| {
            WrapUpMode::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| {
                let modes = WrapUpMode::ALL.map(WrapUpMode::as_str).join(", ");
                format!("`{text}` is not a wrap-up mode: expected one of {modes}")
            })
        })
    }

    fn wrap_up_code(&mut self, at: &str, node: Option<&Text>) -> bool {
        let Some(node) = node else { return false };
        self.read(format!("{at}.wrap_up_code"), node, false, |text| match text {
            "required" => Ok(true),
            "optional" => Ok(false),
            _ => Err(format!("`{text}` is neither required nor optional")),
        })
    }

    fn flow(&mut self, at: &str, node: &schema::Flow, company_id: &CompanyId) -> Flow {
        Flow {
            flow_id: self.id(at, "id", &node.id),
            company_id: company_id.clone(),
            calendar_id: node.calendar.as_ref().map(|node| self.id(at, "calendar", node)),
            closed_prompt: self.optional_text(at, "closed_prompt", node.closed_prompt.as_ref()),
            greeting_prompt: self.optional_text(at, "greeting_prompt", node.greeting_prompt.as_ref()),
            music: self.optional_text(at, "music", node.music.as_ref()),
            queue_id: self.id(at, "queue", &node.queue),
        }
    }

    fn number(&mut self, at: &str, node: &schema::Number, company_id: &CompanyId) -> Number {
        Number {
            number: self.number_of(at, &node.number),
            company_id: company_id.clone(),
            flow_id: self.id(at, "flow", &node.flow),
        }
    }

    fn contract(&mut self, at: &str, node: &schema::Contract, company_id: &CompanyId) -> WantedContract {
        let eur = Currency::parse("EUR").expect("three capital letters are a currency");
        let stand_in = (Money::zero(eur), Millis::from_secs(60));
        let (price, price_per_ms) = self.read(format!("{at}.price"), &node.price, stand_in, scalars::price);
        let nothing = Money::zero(price.currency);
        let monthly_minimum = node.monthly_minimum.as_ref().map_or(nothing, |node| {
            self.read(format!("{at}.monthly_minimum"), node, nothing, scalars::money)
        });
        let zone = self.time_zone.clone();
        let effective_at = node.effective_from.as_ref().map(|node| {
            self.read(format!("{at}.effective_from"), node, Timestamp(0), |text| {
                match day_start(text, &zone) {
                    // The operator's zone is told where it stands, by the rules.
                    Err(CalendarError::TimeZone(_)) => Ok(Timestamp(0)),
                    other => other,
                }
            })
        });
        let unit = self.read(format!("{at}.unit"), &node.unit, UsageUnit::TalkTime, |text| {
            UsageUnit::ALL.into_iter().find(|unit| unit.as_str() == text).ok_or_else(|| {
                format!("`{text}` is not a unit: expected talk_time, work_time or signed_in_time")
            })
        });
        let contract = Contract {
            contract_id: self.id(at, "id", &node.id),
            company_id: company_id.clone(),
            version: self.whole(at, "version", Some(&node.version), "a version: 1, 2, 3, …"),
            effective_at: effective_at.unwrap_or_default(),
            currency: price.currency,
            unit,
            price,
            price_per_ms,
            first_increment_ms: self.span(at, "first_increment", &node.first_increment),
            increment_ms: self.span(at, "increment", &node.increment),
            monthly_minimum,
        };
        WantedContract { contract, dated: effective_at.is_some() }
    }

    fn agent(&mut self, at: &str, node: &schema::Agent) -> Agent {
        let sip_user = self.text(at, "sip_user", &node.sip_user);
        let (sip_ha1_md5, sip_ha1_sha256) = self.digests(at, node, &sip_user);
        Agent {
            agent_id: self.id(at, "id", &node.id),
            name: self.text(at, "name", &node.name),
            cell: Cell(self.whole(at, "cell", node.cell.as_ref(), "a cell: 0, 1, 2, …")),
            site_id: node.site.as_ref().map(|node| self.id(at, "site", node)),
            skills: self.texts(&format!("{at}.skills"), &node.skills),
            sip_user,
            sip_ha1_md5,
            sip_ha1_sha256,
            team_company_id: node.team_company.as_ref().map(|node| self.id(at, "team_company", node)),
            channels: self
                .all(&format!("{at}.channels"), &node.channels, Self::channel_rule)
                .into_iter()
                .map(|placed| placed.wanted)
                .collect(),
        }
    }

    fn channel_rule(&mut self, at: &str, node: &schema::ChannelRule) -> ChannelRule {
        let by = node.interrupted_by.iter().enumerate();
        ChannelRule {
            channel: self.channel(format!("{at}.channel"), &node.channel),
            capacity: match &node.capacity {
                None => 1,
                node => self.whole(at, "capacity", node.as_ref(), "how many at once: 1, 2, …"),
            },
            interrupted_by: by
                .map(|(place, node)| self.channel(format!("{at}.interrupted_by[{place}]"), node))
                .collect(),
        }
    }

    fn channel(&mut self, at: String, node: &Text) -> Channel {
        self.read(at, node, Channel::default(), |text| {
            Channel::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or_else(|| {
                let channels = Channel::ALL.map(Channel::as_str).join(", ");
                format!("`{text}` is not a channel: expected one of {channels}")
            })
        })
    }

    /// The digests of the password, or those the document gives instead (RFC 7616 §3.4.2: `user:realm:password`).
    fn digests(&mut self, at: &str, node: &schema::Agent, sip_user: &str) -> (String, String) {
        match (&node.sip_password, &node.sip_ha1_md5, &node.sip_ha1_sha256) {
            (Some(password), None, None) => {
                self.places.put(format!("{at}.sip_password"), password.referenced);
                if password.value.is_empty() {
                    self.problem(format!("{at}.sip_password"), "a password cannot be empty");
                }
                let secret = format!("{sip_user}:{SIP_REALM}:{}", password.value);
                (hex::encode(Md5::digest(&secret)), hex::encode(Sha256::digest(&secret)))
            }
            (None, Some(md5), Some(sha256)) => {
                (self.text(at, "sip_ha1_md5", md5), self.text(at, "sip_ha1_sha256", sha256))
            }
            _ => {
                let reason = "an agent has either sip_password, or both sip_ha1_md5 and sip_ha1_sha256";
                self.problem(at.to_owned(), reason);
                (String::new(), String::new())
            }
        }
    }

    fn api_key(&mut self, at: &str, node: &schema::ApiKey) -> ApiKey {
        ApiKey {
            name: self.text(at, "name", &node.name),
            key_sha256: self.text(at, "key_sha256", &node.key_sha256),
            company_id: node.company.as_ref().map(|node| self.id(at, "company", node)),
        }
    }

    fn blocklist_entry(&mut self, at: &str, node: &schema::BlocklistEntry) -> BlocklistEntry {
        BlocklistEntry {
            number: self.number_of(at, &node.number),
            company_id: node.company.as_ref().map(|node| self.id(at, "company", node)),
            reason: self.text(at, "reason", &node.reason),
        }
    }
}
