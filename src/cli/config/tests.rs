use proptest::prelude::*;

use super::*;
use crate::cli::failure::Failure;

const EXAMPLE: &str = include_str!("../../../examples/ringway.toml");

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// What a file and a command line come to.
fn read_text(text: &str, line: &str) -> Result<(Cli, Effective), SetupError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringway.toml");
    std::fs::write(&path, text).unwrap();
    read(&words(line), Some(&path))
}

/// What is said of a text that is no configuration; the name of the file stands for its path.
fn refusal(text: &str) -> String {
    let error = read_text(text, "ringway serve --config x").unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let place = error.place().map_or(String::new(), |place| format!("{}:{}: ", place.line, place.column));
    let failure = Failure::Setup(error);
    let mend = failure.remedy().map_or(String::new(), |mend| format!("\n  try: {mend}"));
    format!("{place}{}: {}{mend}\n", failure.what(), failure.why())
}

#[test]
fn errors_have_a_place_and_a_remedy_in_the_words_of_the_file() {
    let texts = [
        "services = [\"echo:7\"",
        "servces = []",
        "services = [\n  \"echo:7\",\n  \"ecko:8\",\n]",
        "services = [\"echo/udp:7,congestion=reno\"]",
        "intervall = \"1s\"",
        "msl = \"1s\"",
        "interval = 1",
        "interval = \"0s\"",
        "drain = \"61m\"",
        "drain = 5",
        "deny = [\"10.0.0.0/8\", \"10.1.2.3/8\"]",
        "deny = { net = \"10.0.0.0/8\" }",
        "mode = \"natve\"",
        "mode = [\"skb\"]",
        "idle = 1979-05-27",
        "partial = \"yes\"",
        "claim = [\"tcp:80\", \"tcp80\"]",
        "gateway = \"gw\"",
        "queues = \"3-0\"",
        "log = \"loud\"",
        "interface = \"eth0\"",
        "[[interface]]\naddresses = [\"10.0.0.2/24\"]",
        "[[interface]]\nname = \"eth0\"\naddresses = [\"10.0.0.2\"]",
        "[[interface]]\nname = \"eth0\"\nadresses = [\"10.0.0.2/24\"]",
        "[tcp]\nmls = \"1s\"",
        "[tcp]\nmsl = \"1\"",
        "[tcp]\nmsl = \"0s\"",
        "[tcp]\ncongestion = \"cubik\"",
        "[tcp]\nkeepalive = \"yes\"",
        "[tcp]\nrto_max = \"100ms\"",
        "[xsk]\nframes = 4095",
        "[tcp]\ndrain = \"5s\"",
        "[tpc]\nmsl = \"1s\"",
        "tcp = 5",
        "[tcp]\nbacklog = [1]",
        "services = [\"echo:7\"]\nservices = []",
        "control = \"a\\u0000b\"",
    ];
    let shown: Vec<_> = texts.iter().map(|text| format!("{text}\n-> {}", refusal(text))).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn the_example_is_a_configuration_and_names_every_key() {
    read_text(EXAMPLE, "ringway serve --config x").unwrap_or_else(|error| panic!("{error}"));
    // As it is, and with everything that is commented out.
    let all: String = EXAMPLE.lines().map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line))).collect();
    let (_, effective) = read_text(&all, "ringway serve --config x").unwrap_or_else(|error| panic!("{error}"));
    let missing: Vec<_> = effective.entries.iter().filter(|entry| entry.from != Origin::File).map(|entry| &entry.name).collect();
    assert!(missing.is_empty(), "examples/ringway.toml does not have {missing:?}");
}

#[test]
fn what_is_printed_says_the_same() {
    let all: String = EXAMPLE.lines().map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line))).collect();
    for (text, line) in [
        ("", "ringway serve --print-config"),
        (EXAMPLE, "ringway serve --config x"),
        (&all, "ringway serve --config x --set tcp.msl=2s --deny 10.9.0.0/16 -i a -i b -a a=10.0.0.2/24@5"),
        ("control = \"a \\\"b\\\\ \\u0007 é\"", "ringway serve --config x echo:7 -i a -a 10.0.0.2/24"),
    ] {
        let (_, effective) = read_text(text, line).unwrap_or_else(|error| panic!("{error}"));
        let printed = toml(&effective).unwrap_or_else(|error| panic!("{error}"));
        let (_, again) = read_text(&printed, "ringway serve --config x").unwrap_or_else(|error| panic!("{error}\n{printed}"));
        let differ: Vec<_> = effective.differences(&again).map(|(old, new)| (&old.name, &old.values, &new.values)).collect();
        // An address without an interface is printed with the only one.
        let differ: Vec<_> = differ.into_iter().filter(|(_, old, _)| **old != ["10.0.0.2/24"]).collect();
        assert!(differ.is_empty(), "{differ:?}\n{printed}");
    }
}

#[test]
fn the_print_of_a_small_file() {
    let (_, effective) = read_text(
        "services = [\"echo:7\"]\ndrain = \"5s\"\n[[interface]]\nname = \"eth0\"\naddresses = \"10.0.0.2/24\"\n[tcp]\nbacklog = 64",
        "ringway serve --config x --deny 10.9.0.0/16",
    )
    .unwrap();
    insta::assert_snapshot!(toml(&effective).unwrap());
}

#[test]
fn the_command_line_goes_before_the_file() {
    let text = "services = [\"echo:7\"]\ndrain = \"5s\"\ndeny = [\"10.0.0.0/8\"]\nmode = \"skb\"\npartial = true\nqueues = [0, 1]\n\
                [[interface]]\nname = \"eth0\"\naddresses = [\"10.0.0.2/24\", \"10.1.0.2/24@5\"]\n[tcp]\nmsl = \"1s\"\nbacklog = 7";
    let of = |line: &str, key: &str| read_text(text, line).unwrap_or_else(|error| panic!("{error}")).1.values(key).to_vec();
    let alone = "ringway serve --config x";
    for (line, key, values) in [
        (alone, "services", &["echo:7"][..]),
        (alone, "drain", &["5s"]),
        (alone, "queues", &["0,1"]),
        (alone, "partial", &["true"]),
        (alone, "interface", &["eth0"]),
        (alone, "interface.addresses", &["eth0=10.0.0.2/24", "eth0=10.1.0.2/24@5"]),
        ("ringway serve --config x --drain 1s", "drain", &["1s"]),
        ("ringway --json serve --config x --drain=1s", "drain", &["1s"]),
        ("ringway serve --config x --deny 10.9.0.0/16 --deny 10.8.0.0/16", "deny", &["10.9.0.0/16", "10.8.0.0/16"]),
        ("ringway serve --config x -m native", "mode", &["native"]),
        ("ringway serve discard:9 --config x", "services", &["discard:9"]),
        ("ringway serve --config x -i eth1", "interface", &["eth1"]),
        ("ringway serve --config x -i eth1", "interface.addresses", &[]),
        ("ringway serve --config x -i eth0", "interface", &["eth0"]),
        ("ringway serve --config x -i eth0", "interface.addresses", &["eth0=10.0.0.2/24", "eth0=10.1.0.2/24@5"]),
        ("ringway serve --config x -i eth1 -a 10.3.0.2/24", "interface.addresses", &["10.3.0.2/24"]),
        ("ringway serve --config x --set tcp.msl=2s", "tcp.msl", &["2s"]),
        ("ringway serve --config x --set tcp.msl=2s", "tcp.backlog", &["7"]),
        ("ringway serve --config x --log debug", "log", &["debug"]),
    ] {
        assert_eq!(of(line, key), values, "{line}: {key}");
    }
}

#[test]
fn without_services_there_is_nothing_to_serve() {
    let (cli, _) = read_text("drain = \"5s\"", "ringway serve --config x").unwrap();
    let SubCommand::Serve(args) = &cli.command else { unreachable!("it is serve") };
    assert_eq!(check_services(args).unwrap_err().remedy(), Some("services = [\"echo:7\"]"));
}

#[test]
fn what_is_no_file_is_said() {
    let error = read(&words("ringway serve --config /nonesuch"), Some(Path::new("/nonesuch"))).unwrap_err();
    assert_eq!(error.what(), "cannot read the configuration /nonesuch");
    assert_eq!(error.exit_code(), 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    assert!(read(&words("ringway serve --config x"), Some(&path)).unwrap_err().why().contains("utf-8"));
    std::fs::write(&path, vec![b'#'; LONGEST + 1]).unwrap();
    assert!(read(&words("ringway serve --config x"), Some(&path)).unwrap_err().why().contains("is the most"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics(text in "(services|drain|queues|mode|deny|tcp|msl|interface|name|addresses|[\\[\\]{}=,\"'.#\n 0-9a-zé\\\\]){0,30}") {
        if let Err(error) = read_text(&text, "ringway serve --config x") {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(error.place().is_none_or(|place| (1..=lines).contains(&place.line)), "{error}");
        }
    }

    #[test]
    fn no_change_of_the_example_panics(at in 0..EXAMPLE.len(), cut in 0..40_usize, put in "[\\[\\]{}=,\"'\n0-9a-z\u{0}é]{0,4}") {
        let mut octets = EXAMPLE.as_bytes().to_vec();
        octets.splice(at..(at + cut).min(EXAMPLE.len()), put.bytes());
        let _ = read_text(&String::from_utf8_lossy(&octets), "ringway serve --config x");
    }

    #[test]
    fn what_is_quoted_is_read_back(text in "\\PC*[\"\\\\\n\t\u{1}\u{7f}]{0,3}") {
        let table = format!("x = {}", print::quoted(&text));
        let table = ::toml::de::DeTable::parse(&table).unwrap();
        prop_assert_eq!(table.get_ref()["x"].get_ref().as_str(), Some(text.as_str()));
    }
}
