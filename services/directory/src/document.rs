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
//!         required_skills: [skl_german] # optional; an agent needs all of them
//!         priority: 0                   # optional, 0; smaller is served first, -1000 to 1000
//!         offer_timeout: 15s            # how long an agent's phone rings, 1s to 5m
//!         wrap_up: 30s                  # optional, 0s: after-contact work, at most 8h
//!         wait_max: 10m                 # optional, 0s: no limit; then the contact flows out
//!         waiting_count_max: 50         # optional, 0: no limit; more are turned away
//!         miss_count_max: 3             # optional, 0: never; offers missed in a row until the agent is not ready
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
//!     skills: [skl_german]              # optional
//!     sip_user: "1001"                  # unique; A-Z a-z 0-9 . _ -
//!     sip_password: s3cret              # only its digests for the realm `trunkline` are kept; or both of these instead:
//!     # sip_ha1_md5: <hex of MD5 over user:trunkline:password>
//!     # sip_ha1_sha256: <hex of SHA-256 over user:trunkline:password>
//!     team_company: cmp_aurora          # optional: whose contract by signed_in_time pays for this agent
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
