use super::*;

fn overlay(file: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let variables = variables
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    environment::overlay(file.parse().unwrap(), variables).map_err(|failure| format!("{failure:?}"))
}

#[test]
fn the_environment_stands_over_the_file() {
    let file = "[kafka]\nbrokers = \"a:1\"\ntopic = \"t\"\n";
    let settings = overlay(
        file,
        &[
            ("SIJI_KAFKA_BROKERS", "b:2"),
            ("SIJI_KAFKA_PARTITIONS", "4"),
            ("SIJI_KAFKA_PROPERTIES_SECURITY_PROTOCOL", "ssl"),
            ("SIJI_COLLECTOR_AREA", "330502"),
            ("SIJI_COLLECTOR_SPOOL_MAX_BYTES", "104857600"),
            ("SIJI_REFERENCE_CITIES", "[\"huzhou\"]"),
            ("SIJI_TEST_PYTHON", "python3"),
            ("HOME", "/"),
        ],
    )
    .unwrap();
    assert_eq!(
        (
            settings.kafka.brokers.as_str(),
            settings.kafka.topic.as_str()
        ),
        ("b:2", "t")
    );
    assert_eq!(settings.kafka.partitions, 4);
    assert_eq!(settings.kafka.properties["security.protocol"], "ssl");
    assert_eq!(
        settings.collector.area, "330502",
        "digits are text where text is wanted"
    );
    assert_eq!(settings.collector.spool.max_bytes, 104_857_600);
    assert_eq!(settings.reference.cities, ["huzhou"]);
}

#[test]
fn every_section_can_be_set_from_the_environment() {
    // Serde names them all when it is given one that is not there.
    let told = toml::from_str::<Settings>("[no_such_section]").unwrap_err();
    let (_, names) = told.message().split_once("expected one of").unwrap();
    let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let variable = format!("SIJI_{}_KEY", name.to_uppercase());
        assert!(environment::place(&variable).is_some(), "{variable}");
    }
    let settings = overlay("", &[("SIJI_MAINTAIN_ENABLED", "false")]).unwrap();
    assert!(!settings.maintain.enabled);
}

#[test]
fn a_variable_that_names_no_key_or_no_value_is_an_error_that_names_it() {
    let unknown = overlay("", &[("SIJI_KAFKA_BROKER", "a:1")]).unwrap_err();
    assert!(
        unknown.contains("SIJI_KAFKA_BROKER") && unknown.contains("broker"),
        "{unknown}"
    );
    let wrong = overlay("", &[("SIJI_KAFKA_PARTITIONS", "many")]).unwrap_err();
    assert!(wrong.contains("SIJI_KAFKA_PARTITIONS"), "{wrong}");
}

#[test]
fn an_unknown_key_in_the_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("siji.toml");
    std::fs::write(&file, "[kafka]\nbrokers = \"a:1\"\nbroker = \"b\"\n").unwrap();
    let error = format!("{:?}", Settings::load(Some(&file)).unwrap_err());
    assert!(
        error.contains("siji.toml:3: ") && error.contains("broker"),
        "{error}"
    );
}

#[test]
fn a_line_that_is_wrong_is_not_shown_because_it_may_hold_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("siji.toml");
    for text in [
        "[collector]\npseudonym_keys = \"open sesame\"\n",
        "[collector]\npseudonym_key = open sesame\n",
        "[kafka.properties]\n\"sasl.password\" = [\"open sesame\"]\n",
        "[collector]\ntokens = \"open sesame\"\n",
    ] {
        std::fs::write(&file, text).unwrap();
        let error = format!("{:?}", Settings::load(Some(&file)).unwrap_err());
        assert!(
            error.contains("siji.toml:2: ") && !error.contains("sesame"),
            "{error}"
        );
    }
}

#[test]
fn a_variable_that_names_no_section_is_told_unless_others_read_it() {
    let names = [
        "SIJI_AGREGATOR_DEDUP_BYTES",
        "SIJI_AGGREGATOR_DEDUP_BYTES",
        "SIJI_COLLECTOR_KAFKA_PROPERTIES_SASL_PASSWORD",
        "SIJI_TEST_BROKERS",
        "SIJI_CONFIG",
        "HOME",
    ];
    let strangers = environment::strangers(names.map(str::to_owned).into_iter());
    assert_eq!(strangers, ["SIJI_AGREGATOR_DEDUP_BYTES"]);
    let settings = overlay("", &[("SIJI_COLLECTOR_KAFKA_PROPERTIES_LINGER_MS", "7")]).unwrap();
    assert_eq!(settings.collector.kafka.properties["linger.ms"], "7");
}

#[test]
fn a_collector_inherits_each_point_of_kafka_that_it_leaves_open() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("siji.toml");
    let text = "[kafka]\nbrokers = \"k:1\"\ntopic = \"t\"\n[kafka.properties]\n\"security.protocol\" = \"ssl\"\n\
                [collector.kafka]\nmax_in_flight = 7\n";
    std::fs::write(&file, text).unwrap();
    let theirs = Settings::load(Some(&file)).unwrap().collector.kafka;
    assert_eq!(
        (theirs.brokers.as_str(), theirs.topic.as_str()),
        ("k:1", "t")
    );
    assert_eq!(theirs.max_in_flight, 7);
    assert_eq!(theirs.properties["security.protocol"], "ssl");
}
