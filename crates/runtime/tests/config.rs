//! What a wrong configuration says: one sentence with the key, the value and where it came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;

use expect_test::{Expect, expect};
use serde::Deserialize;
use trunkline_runtime::config::{ConfigError, Secret, Settings};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Media {
    listen: SocketAddr,
    rtp_port_min: u16,
    trunks: Vec<String>,
    mode: Mode,
    recorded: bool,
    pin: Option<String>,
    trunk_password: Secret,
    limits: Limits,
}

#[derive(Debug, Default, Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    EarlyMedia,
    Answer,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    contact_count_max: u32,
    by_trunk: BTreeMap<String, u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { contact_count_max: 1_000, by_trunk: BTreeMap::new() }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5060)),
            rtp_port_min: 20_000,
            trunks: Vec::new(),
            mode: Mode::default(),
            recorded: false,
            pin: None,
            trunk_password: Secret::default(),
            limits: Limits::default(),
        }
    }
}

impl Media {
    fn check(&self) -> Result<(), String> {
        if self.rtp_port_min < 1_024 {
            return Err("rtp_port_min: ports below 1024 are the system's".to_owned());
        }
        if self.limits.contact_count_max == 0 {
            return Err("limits.contact_count_max: nobody could call".to_owned());
        }
        if self.recorded && self.trunks.is_empty() {
            return Err("recorded calls need a trunk".to_owned());
        }
        Ok(())
    }
}

/// The sources of one case.
#[derive(Default)]
struct Given {
    file: &'static str,
    environment: &'static [(&'static str, &'static str)],
    flags: &'static [&'static str],
}

fn read(given: &Given) -> Result<Media, ConfigError> {
    let variables = given.environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let mut settings = Settings::new()
        .file_text("trunkline.toml", given.file)?
        .environment(variables)?
        .flags(given.flags.iter().copied())?;
    let media = settings.section("media", Media::check)?;
    settings.finish()?;
    Ok(media)
}

#[track_caller]
fn refused(given: Given, sentence: Expect) {
    sentence.assert_eq(&read(&given).expect_err("it is wrong").to_string());
}

fn file(text: &'static str) -> Given {
    Given { file: text, ..Given::default() }
}

fn environment(variables: &'static [(&'static str, &'static str)]) -> Given {
    Given { environment: variables, ..Given::default() }
}

fn flags(flags: &'static [&'static str]) -> Given {
    Given { flags, ..Given::default() }
}

#[test]
fn later_sources_win_value_by_value_and_the_rest_are_defaults() {
    let given = Given {
        file: "[media]\nrtp_port_min = 30000\nmode = 'answer'\ntrunks = ['a']\n[media.limits]\ncontact_count_max = 5\n",
        environment: &[
            ("TRUNKLINE_MEDIA__RTP_PORT_MIN", "31000"),
            ("TRUNKLINE_MEDIA__TRUNKS", "b, c"),
            ("TRUNKLINE_MEDIA__LIMITS__BY_TRUNK__B", "7"),
            ("TRUNKLINE_MEDIA__PIN", "0042"),
            ("TRUNKLINE_DATA", "/not/ours"),
            ("HOME", "/root"),
        ],
        flags: &["media.rtp_port_min=32000", "media.recorded=true"],
    };
    let expected = Media {
        rtp_port_min: 32_000,
        mode: Mode::Answer,
        trunks: vec!["b".to_owned(), "c".to_owned()],
        recorded: true,
        pin: Some("0042".to_owned()),
        limits: Limits { contact_count_max: 5, by_trunk: BTreeMap::from([("b".to_owned(), 7)]) },
        ..Media::default()
    };
    assert_eq!(read(&given).unwrap(), expected);
    assert_eq!(read(&Given::default()).unwrap(), Media::default());
}

#[test]
fn a_value_of_the_wrong_type_is_refused_where_it_stands() {
    refused(
        file("[media]\n\nrtp_port_min = 'abc'\n"),
        expect![[
            r#"could not use media.rtp_port_min = "abc" from file trunkline.toml line 3: expected a whole number from 0 to 65535"#
        ]],
    );
    refused(
        file("[media]\nrtp_port_min = 70000\n"),
        expect![[
            r#"could not use media.rtp_port_min = 70000 from file trunkline.toml line 2: expected a whole number from 0 to 65535"#
        ]],
    );
    refused(
        environment(&[("TRUNKLINE_MEDIA__RTP_PORT_MIN", "-1")]),
        expect![[
            r#"could not use media.rtp_port_min = "-1" from environment variable TRUNKLINE_MEDIA__RTP_PORT_MIN: expected a whole number from 0 to 65535"#
        ]],
    );
    refused(
        flags(&["media.recorded=perhaps"]),
        expect![[r#"could not use media.recorded = "perhaps" from flag --set: expected true or false"#]],
    );
    refused(
        file("[media]\nlisten = 5060\n"),
        expect![[
            r#"could not use media.listen = 5060 from file trunkline.toml line 2: expected socket address"#
        ]],
    );
    refused(
        flags(&["media.listen=localhost"]),
        expect![[
            r#"could not use media.listen = "localhost" from flag --set: invalid socket address syntax"#
        ]],
    );
    refused(
        flags(&["media.mode=loud"]),
        expect![[
            r#"could not use media.mode = "loud" from flag --set: expected one of early_media, answer"#
        ]],
    );
    refused(
        file("[media]\ntrunks = ['a', 5]\n"),
        expect![[r#"could not use media.trunks[1] = 5 from file trunkline.toml line 2: expected a string"#]],
    );
    refused(
        file("[media]\nlimits = 5\n"),
        expect![[
            r#"could not use media.limits = 5 from file trunkline.toml line 2: expected a table of settings"#
        ]],
    );
    refused(
        environment(&[("TRUNKLINE_MEDIA__LIMITS__BY_TRUNK__A", "many")]),
        expect![[
            r#"could not use media.limits.by_trunk.a = "many" from environment variable TRUNKLINE_MEDIA__LIMITS__BY_TRUNK__A: expected a whole number from 0 to 4294967295"#
        ]],
    );
}

#[test]
fn a_name_nobody_knows_is_refused_with_those_that_are_known() {
    refused(
        file("[media]\nrtp_port = 1\n"),
        expect![[
            r#"could not use media.rtp_port = 1 from file trunkline.toml line 2: no such setting, expected one of listen, rtp_port_min, trunks, mode, recorded, pin, trunk_password, limits"#
        ]],
    );
    refused(
        environment(&[("TRUNKLINE_MEDIA__LIMITS__MAX", "1")]),
        expect![[
            r#"could not use media.limits.max = "1" from environment variable TRUNKLINE_MEDIA__LIMITS__MAX: no such setting, expected one of contact_count_max, by_trunk"#
        ]],
    );
    refused(
        file("[medai]\nlisten = '127.0.0.1:1'\n"),
        expect![[
            r#"could not use medai.listen = "127.0.0.1:1" from file trunkline.toml line 2: no such section, expected one of media"#
        ]],
    );
    refused(
        file("listen = '127.0.0.1:1'\n"),
        expect![[
            r#"could not use listen = "127.0.0.1:1" from file trunkline.toml line 1: it stands outside a section"#
        ]],
    );
}

#[test]
fn a_value_that_the_service_refuses_is_named_with_its_origin() {
    refused(
        flags(&["media.rtp_port_min=80"]),
        expect![[
            r#"could not use media.rtp_port_min = "80" from flag --set: ports below 1024 are the system's"#
        ]],
    );
    refused(
        file("[media.limits]\ncontact_count_max = 0\n"),
        expect![[
            r#"could not use media.limits.contact_count_max = 0 from file trunkline.toml line 2: nobody could call"#
        ]],
    );
    refused(
        flags(&["media.recorded=true"]),
        expect![[r#"could not use section media: recorded calls need a trunk"#]],
    );
}

#[test]
fn a_source_of_the_wrong_form_is_refused() {
    refused(
        file("[media]\nlisten = \n"),
        expect![[
            r#"could not read file trunkline.toml line 2: string values must be quoted, expected literal string"#
        ]],
    );
    refused(
        file("[media]\nrecorded = true\nrecorded = false\n"),
        expect![[r#"could not read file trunkline.toml line 3: duplicate key"#]],
    );
    refused(
        environment(&[("TRUNKLINE_MEDIA__", "1")]),
        expect![[
            r#"could not use environment variable TRUNKLINE_MEDIA__: expected TRUNKLINE_<SECTION>__<KEY>"#
        ]],
    );
    refused(
        flags(&["media.recorded"]),
        expect![[r#"could not use flag --set media.recorded: expected section.key=value"#]],
    );
    refused(
        flags(&["recorded=true"]),
        expect![[r#"could not use flag --set recorded=true: expected section.key=value"#]],
    );
    let garbled = std::ffi::OsString::from_vec(vec![0xff]);
    let error =
        Settings::new().environment([("TRUNKLINE_MEDIA__PIN".into(), garbled)]).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not use environment variable TRUNKLINE_MEDIA__PIN: its value is not UTF-8"
    );
    let error = Settings::new().file(std::path::Path::new("does/not/exist.toml")).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not read file does/not/exist.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn a_secret_is_never_shown() {
    let settings = Settings::new()
        .file_text("f", "[media]\ntrunk_password = 'hunter2'\nrecorded = true\n")
        .unwrap()
        .flags(["gateway.api_key=hunter3", "telemetry.log_filter=info"])
        .unwrap();
    expect![[r#"
        gateway.api_key = … from flag --set
        media.recorded = true from file f line 3
        media.trunk_password = … from file f line 2
        telemetry.log_filter = "info" from flag --set
    "#]]
    .assert_eq(&settings.to_string());
    refused(
        file("[media]\ntrunk_password = 42\n"),
        expect![[
            r#"could not use media.trunk_password = … from file trunkline.toml line 2: expected a string"#
        ]],
    );
    let media = read(&flags(&["media.trunk_password=hunter2"])).unwrap();
    assert_eq!(media.trunk_password.reveal(), "hunter2");
    assert!(!format!("{media:?} {}", media.trunk_password).contains("hunter2"));
}
