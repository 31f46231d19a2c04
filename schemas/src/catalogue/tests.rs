use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::area::Tier;

fn builtin() -> Catalogue {
    Catalogue::load(&CatalogueSource::Builtin).expect("the built-in catalogue loads")
}

/// Loads a catalogue with one file replaced.
fn with(name: &str, text: &str) -> Result<Catalogue, LoadProblems> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join(name), text).expect("a file");
    Catalogue::load(&CatalogueSource::Directory(dir.path().to_owned()))
}

fn builtin_text(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/catalogue/").to_owned() + name;
    fs::read_to_string(path).expect("a file of the catalogue")
}

/// Line and reason of every problem.
fn problems(result: Result<Catalogue, LoadProblems>) -> Vec<(u64, String)> {
    result
        .expect_err("problems")
        .iter()
        .map(|problem| (problem.line, problem.reason.clone()))
        .collect()
}

/// The types of the event model, as its prose lists them.
const TYPES: &str = "case opened, accepted, refused, dispatched, signed, contacted, transferred, escalated, suspended, \
    resumed, handled, closed, callback, reworked, reopened, merged, withdrawn, supervised · call received · service \
    delivered · provider entry_listed, entry_removed · visit made · grid patrolled, item_done · facility registered, \
    changed, closed, used · space measured · stock reported · org registered, changed, dissolved · member changed, \
    checked_in · unit registered, joined, left, facility_opened, duty_reported · staff appointed, left, trained · \
    volunteer registered, served · points earned, redeemed · activity held · project approved, funded, graded, rated, \
    closed · fund budgeted, received, disbursed, spent · debt recorded, repaid · proposal submitted, screened, \
    deliberated, voted, adopted, rejected, referred, implemented, fed_back · wish posted, claimed, done · pact signed, \
    assessed · meeting held · election held · disclosure published · list item_added, item_removed, confirmed · \
    admission requested, approved, refused, expired · burden item_added, item_removed · survey answered · appraisal \
    submitted · score awarded · title awarded, revoked · compound registered, changed · report due_met, approved, \
    accepted, reopened · source heartbeat";

#[test]
fn the_catalogue_has_exactly_the_types_of_the_event_model() {
    let mut expected = BTreeSet::new();
    for family in TYPES.split('·') {
        let (family, verbs) = family
            .trim()
            .split_once(' ')
            .expect("a family and its verbs");
        expected.extend(
            verbs
                .split(',')
                .map(|verb| format!("{family}.{}", verb.trim())),
        );
    }
    let catalogue = builtin();
    let found: BTreeSet<String> = catalogue
        .event_types()
        .iter()
        .map(|kind| kind.name.clone())
        .collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 98);
}

#[test]
fn the_dictionary_texts_of_an_event_stand_in_the_order_of_the_dictionaries() {
    for (at, list) in builtin().dictionaries().enumerate() {
        let mut event = crate::EventRef::default();
        match list.column {
            Column::op => event.op = Some("x"),
            Column::subject_kind => event.subject_kind = Some("x"),
            Column::case_kind => event.case_kind = Some("x"),
            Column::channel => event.channel = Some("x"),
            Column::actor_role => event.actor_role = Some("x"),
            Column::outcome => event.outcome = Some("x"),
            Column::unit => event.unit = Some("x"),
            Column::qualifier => event.qualifier = Some("x"),
            Column::fee_mode => event.fee_mode = Some("x"),
            Column::fund_source => event.fund_source = Some("x"),
            other => panic!("{} is no dictionary column", other.name()),
        }
        let texts = dictionary_texts(&event);
        assert_eq!(
            texts.iter().position(Option::is_some),
            Some(at),
            "{}",
            list.column.name()
        );
    }
    assert_eq!(
        builtin().dictionaries().count(),
        dictionary_texts(&crate::EventRef::default()).len()
    );
}

#[test]
fn types_take_over_what_their_family_and_the_common_part_say() {
    let catalogue = builtin();
    let opened = catalogue.event_type("case.opened").expect("a type");
    assert!(opened.folded && !opened.level);
    assert!(opened.required.columns.contains(Column::channel));
    assert!(opened.allows("line") && opened.allows("printed") && !opened.allows("layer"));
    assert!(opened.ranges.contains(&Range {
        column: Column::rating,
        low: 1,
        high: 5
    }));
    assert!(opened.personal.contains(Column::resident_ref));
    let proposal = catalogue.event_type("proposal.voted").expect("a type");
    assert_eq!(proposal.required.names(), ["attrs.layer"]);
    assert_eq!(proposal.envelope.columns, opened.envelope.columns);
    let staff = catalogue.event_type("staff.appointed").expect("a type");
    assert!(
        staff.personal.contains(Column::subject_id) && staff.personal.contains(Column::actor_ref)
    );
    let stock = catalogue.event_type("stock.reported").expect("a type");
    assert!(stock.of_register && stock.level);
    assert!(catalogue.event_type("case.shouted").is_none());
}

#[test]
fn attrs_keys_of_a_type_fit_into_its_limits() {
    for kind in builtin().event_types() {
        let needed = kind.required.attrs.len();
        assert!(needed <= crate::validate::MAX_ATTRS, "{}", kind.name);
        assert!(kind.attrs.iter().all(
            |attr| attr.key.len() <= crate::validate::MAX_KEY_BYTES && !attr.meaning.is_empty()
        ));
        assert!(
            kind.attrs.is_sorted_by(|a, b| a.key < b.key),
            "{}",
            kind.name
        );
    }
}

#[test]
fn the_service_tree_is_wide_and_only_its_leaves_have_limits() {
    let catalogue = builtin();
    let leaves = catalogue
        .services()
        .iter()
        .filter(|service| service.leaf)
        .count();
    assert!(leaves >= 60, "{leaves}");
    let meals = catalogue.service("elder.meals").expect("a service");
    assert_eq!(
        (meals.path.as_str(), meals.leaf, meals.provision),
        ("elder/elder.meals", true, Provision::Mutual)
    );
    assert!(!catalogue.service("elder").expect("a group").leaf);
    let certificate = catalogue.service("affair.certificate").expect("a service");
    assert_eq!(
        (
            certificate.domain,
            certificate.lowest_tier,
            certificate.calendar.as_str()
        ),
        (Domain::Gov, Tier::Community, "working")
    );
    for service in catalogue.services().iter().filter(|service| service.leaf) {
        assert!(
            service.sign_hours <= service.respond_hours
                && service.respond_hours <= service.close_hours,
            "{}",
            service.code
        );
    }
    for domain in [Domain::Gov, Domain::Resident, Domain::Party] {
        assert!(
            catalogue
                .services()
                .iter()
                .any(|service| service.domain == domain)
        );
    }
}

#[test]
fn registers_have_their_unit_and_open_families_take_any_word() {
    let catalogue = builtin();
    let share = catalogue.register("staff.party_share").expect("a register");
    assert_eq!(
        (share.unit.as_str(), share.time, share.area),
        ("pct", TimeOp::Last, AreaOp::Avg)
    );
    assert_eq!(
        catalogue
            .register("jobs.developed")
            .map(|register| register.time),
        Some(TimeOp::Sum)
    );
    let open = catalogue
        .register("fac.bicycle_shed")
        .expect("a register of an open family");
    assert!(open.family && open.unit == "n");
    for code in ["fac.", "fac", "fac.Bicycle", "fac.a.b", "weather.rain", ""] {
        assert!(catalogue.register(code).is_none(), "{code}");
    }
}

#[test]
fn a_new_type_is_a_change_of_data() {
    let text = builtin_text("event_types.toml")
        + "\n[family.market]\nsubject_kinds = [\"area\"]\n[type.\"market.opened\"]\nzh = \"开市\"\nen = \"market\"\nrequired = [\"count\"]\n";
    let catalogue = with("event_types.toml", &text).expect("a catalogue");
    assert_eq!(catalogue.event_types().len(), 99);
    let market = catalogue.event_type("market.opened").expect("the new type");
    assert!(market.required.columns.contains(Column::count) && market.allows("printed"));
    assert_ne!(catalogue.version(), builtin().version());
}

#[test]
fn a_directory_replaces_only_the_files_it_has() {
    let catalogue = with("services.csv", &builtin_text("services.csv")).expect("a catalogue");
    assert_eq!(catalogue.version(), builtin().version());
    assert!(Catalogue::load(&CatalogueSource::Directory("/nonexistent/catalogue".into())).is_err());
}

#[test]
fn every_mistake_of_the_event_types_is_named_with_its_line() {
    let text = "\
[common]
envelope = [\"event_id\", \"colour\"]
[common.range]
channel = [1, 5]
[family.visit]
subject_kinds = [\"ghost\"]
attrs.Purpose = \"upper case\"
[type.\"visit.made\"]
zh = \"走访\"
required = [\"attrs.nothing\", \"count\"]
outcomes = [\"happy\"]
units = \"m2\"
level = 1
shape = \"round\"
at_most = [[\"count\"], [\"count\", \"channel\"]]
range.value = [5, 1]
valid_from = \"2020-02-30\"
[type.\"walk.made\"]
zh = \"散步\"
en = \"walk\"
[type.visit]
zh = \"走访\"
en = \"visit\"
";
    let found = problems(with("event_types.toml", text));
    let expected = [
        (2, "envelope: there is no column colour"),
        (4, "range of channel: there is no column of numbers"),
        (6, "ghost is not a word of subject_kind"),
        (7, "\"Purpose\" is no attrs key"),
        (8, "en is missing"),
        (10, "attrs.nothing is required but not listed"),
        (11, "happy is not a word of outcome"),
        (12, "units is string: expected a list of texts"),
        (13, "level is integer: expected true or false"),
        (14, "unknown key shape"),
        (15, "at_most: expected pairs"),
        (16, "value is array: expected two integers, the lower first"),
        (17, "valid_from is string: expected a date"),
        (18, "there is no [family.walk]"),
        (21, "\"visit\" is no event type"),
    ];
    for (line, reason) in expected {
        assert!(
            found
                .iter()
                .any(|(at, why)| *at == line && why.contains(reason)),
            "{line} {reason} not in {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len() + 1, "{found:#?}");
}

#[test]
fn every_mistake_of_words_and_registers_is_named_with_its_line() {
    let words = builtin_text("words.toml")
        .replace("retract = {", "undo = {")
        .replace("[qualifier]", "[colour]\nred = {}\n[qualifier]");
    let found = problems(with("words.toml", &words));
    assert!(
        found
            .iter()
            .any(|(_, why)| why.contains("op lacks the word retract")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|(line, why)| *line > 5 && why.contains("unknown key colour")),
        "{found:?}"
    );

    let registers = "\
register.\"a\" = { zh = \"甲\", en = \"a\", unit = \"ell\", time = \"last\", area = \"sum\" }
register.\"B\" = { zh = \"乙\", en = \"b\", unit = \"n\", time = \"never\", area = \"sum\" }
register.\"c\" = { zh = \"丙\", unit = \"n\", time = \"last\", area = \"near\" }
family.\"d\" = { zh = \"丁\", en = \"d\", unit = \"n\", time = \"last\", area = \"sum\" }
";
    let found = problems(with("registers.toml", registers));
    let expected = [
        (1, "unit ell is not in words.toml"),
        (2, "\"B\" is no register code"),
        (2, "time \"never\""),
        (3, "en is missing"),
        (3, "area \"near\""),
        (4, "\"d\" is no register code"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, why), (expected_line, reason)) in found.iter().zip(expected) {
        assert!(
            *line == expected_line && why.contains(reason),
            "{line} {why}"
        );
    }
}

#[test]
fn every_mistake_of_the_services_is_named_with_its_line() {
    let header = builtin_text("services.csv")
        .lines()
        .next()
        .expect("a header")
        .to_owned();
    let text = format!(
        "{header}\n\
        a,b,甲,a,gov,gov,community,,,,natural,no,normal,,,\n\
        b,,乙,b,gov,gov,community,,,,natural,no,normal,,,\n\
        b,,乙,b,gov,gov,community,,,,natural,no,normal,,,\n\
        c,x,丙,c,gov,gov,community,,,,natural,no,normal,,,\n\
        D,,,d,town,free,parish,soon,,-1,lunar,maybe,secret,,2020-1-1,\n"
    );
    let found = problems(with("services.csv", &text));
    let lines: Vec<u64> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(
        lines,
        [2, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6],
        "{found:#?}"
    );
    assert!(found[0].1.contains("must stand above"), "{found:?}");
    assert!(found[1].1.contains("stands also on line 3"), "{found:?}");
    assert!(
        found[2].1.contains("parent x is not in the file"),
        "{found:?}"
    );
}

#[test]
fn syntax_errors_and_files_that_are_not_utf8_are_problems_with_a_line() {
    let found = problems(with("words.toml", "[op]\nassert = {\n"));
    assert!(found.iter().any(|(line, _)| *line >= 2), "{found:?}");
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("registers.toml"), b"# fine\n# \xff\n").expect("a file");
    let found = problems(Catalogue::load(&CatalogueSource::Directory(
        dir.path().to_owned(),
    )));
    assert_eq!(
        found,
        [(2, "is not UTF-8: save the file as UTF-8".to_owned())]
    );
}
