use super::*;

/// Every key takes back what it shows, and the keys are told apart by name.
#[test]
fn every_key_reads_what_it_shows() {
    let defaults = Settings::default();
    let mut settings = Settings::default();
    for line in defaults.lines() {
        settings.set(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert_eq!(settings, defaults);
    let mut names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), KEYS.len());
}

/// Each key changes the settings: none is there for show.
#[test]
fn every_key_has_an_effect() {
    for key in KEYS {
        let defaults = Settings::default();
        let shown = key.show(&defaults);
        let other = match key.unit().as_str() {
            "duration" if shown == "1m" => "2m",
            "duration" => "123ms",
            "bytes" => "128K",
            "on|off" if shown == "on" => "off",
            "on|off" => "on",
            "auto|off" => "off",
            "cubic|bbr|reno" => "reno",
            "passive|on|off" | "blackhole|on|off" => "on",
            "auto|2048|4096" => "4096",
            _ if key.name.starts_with("xsk") => "1024",
            _ => "9",
        };
        let long = matches!(key.name, "arp.expiry" | "tcp.keepalive_idle" | "tcp.keepalive_interval");
        let other = match key.name {
            _ if long => "5s",
            "tcp.keepalive_probes" => "7",
            "dns.udp_payload" => "4K",
            _ => other,
        };
        let mut settings = defaults.clone();
        settings.set(&format!("{}={other}", key.name)).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(settings, defaults, "{}", key.name);
        assert_eq!(key.show(&settings), other, "{}", key.name);
    }
}

#[test]
fn good_assignments() {
    let mut settings = Settings::default();
    for line in
        ["tcp.msl=1s", "tcp.backlog=128", "tcp.congestion=reno", "xsk.frame_size=4096", "tcp.no_delay=off", "xsk.huge_pages=off"]
    {
        settings.set(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert_eq!(settings.tcp.msl, Duration::from_secs(1));
    assert_eq!(settings.tcp.backlog, 128);
    assert_eq!(settings.xsk.frame_size, Some(4096));
    assert!(!settings.tcp.no_delay);
    assert_eq!(settings.xsk.huge_pages, HugePages::Off);
}

#[test]
fn bad_assignments_say_what_why_and_the_right_word() {
    let lines = [
        "tcp.msl",
        "msl=1s",
        "tcp.mls=1s",
        "nonsense=1",
        "",
        "=",
        "tcp.msl=",
        "tcp.msl=1",
        "tcp.msl=1h",
        "tcp.msl=0s",
        "tcp.backlog=0",
        "tcp.backlog=many",
        "tcp.congestion=vegas",
        "tcp.send_buffer=1",
        "tcp.timestamps=yes",
        "xsk.frame_size=1024",
        "xsk.ring_size=1000",
        "xsk.ring_size=-1",
        "xsk.huge_pages=on",
        "tcp.delayed_ack=500ms",
        "tcp.retries=256",
    ];
    let errors: Vec<_> = lines.iter().map(|line| Settings::default().set(line).unwrap_err()).collect();
    assert!(errors.iter().all(|error| error.exit_code() == 2));
    let shown: Vec<_> = lines.iter().zip(&errors).map(|(line, error)| format!("[{line}]\n{error}")).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn settings_that_contradict_each_other_are_found() {
    let cases: [&[&str]; 5] = [
        &["tcp.rto_min=30s", "tcp.rto_max=20s"],
        &["tcp.rto_initial=100ms"],
        &["tcp.rto_max=500ms"],
        &["tcp.memory=64K"],
        &["xsk.ring_size=4096"],
    ];
    let shown: Vec<_> = cases
        .iter()
        .map(|lines| {
            let mut settings = Settings::default();
            lines.iter().for_each(|line| settings.set(line).unwrap());
            settings.check().unwrap_err().to_string()
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    Settings::default().check().unwrap();
}

#[test]
fn the_listing_fits_a_terminal() {
    let listing = listing();
    assert!(listing.lines().all(|line| line.chars().count() <= 80), "{listing}");
    insta::assert_snapshot!(listing);
}
