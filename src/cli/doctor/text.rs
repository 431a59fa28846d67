//! Findings as text: the machine, then each interface; a line a check, wrapped at 80 columns, and the command that mends it below.

use ringway::doctor::{Finding, Verdict};

/// The whole report.
pub(super) fn report(findings: &[Finding], colour: bool) -> String {
    let mut shown = String::new();
    let mut subject = None;
    for (n, finding) in findings.iter().enumerate() {
        let of = finding.interface.as_deref().unwrap_or("machine");
        // Lines of an overview carry the name themselves.
        let heading = if finding.check == OVERVIEW { "interfaces" } else { of };
        if subject != Some(heading) {
            if subject.is_some() {
                shown.push('\n');
            }
            shown.push_str(&format!("{heading}\n"));
            subject = Some(heading);
        }
        let name = if finding.check == OVERVIEW { of } else { finding.check };
        // What mends the next one as well is said there.
        let again = findings.get(n + 1).is_some_and(|next| next.verdict != Verdict::Ok && next.mend == finding.mend);
        shown.push_str(&line(finding, name, again, colour));
    }
    shown
}

/// The check of an interface that nobody has named.
const OVERVIEW: &str = "overview";

fn line(finding: &Finding, name: &str, again: bool, colour: bool) -> String {
    let (on, off) = if colour { (paint(finding.verdict), "\x1b[0m") } else { ("", "") };
    let mut lines = wrap(&finding.text, WIDTH - INDENT).into_iter();
    let mut shown = format!("  {on}{:<4}{off}  {name:<13} {}\n", finding.verdict.name(), lines.next().unwrap_or_default());
    for line in lines {
        shown.push_str(&format!("{:INDENT$}{line}\n", ""));
    }
    if let Some(command) = finding.mend.as_ref().filter(|_| finding.verdict != Verdict::Ok && !again) {
        shown.push_str(&format!("{:TRY$}try: {}\n", "", broken(command)));
    }
    shown
}

/// Green, dim, yellow, red.
const fn paint(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "\x1b[32m",
        Verdict::Skipped => "\x1b[2m",
        Verdict::Warn => "\x1b[33m",
        Verdict::Fail => "\x1b[1;31m",
    }
}

/// Columns of a terminal.
const WIDTH: usize = 80;
/// Where the text of a finding begins.
const INDENT: usize = 22;
/// Where its command does.
const TRY: usize = 8;

/// Lines of at most so many characters; a longer word stands alone.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one from the start");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A command over several lines that a shell takes as one.
fn broken(command: &str) -> String {
    let margin = TRY + "try: ".len();
    // Room for the backslash.
    wrap(command, WIDTH - margin - 2).join(&format!(" \\\n{:margin$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &'static str, interface: Option<&str>, verdict: Verdict, text: &str, mend: Option<&str>) -> Finding {
        Finding {
            check,
            interface: interface.map(str::to_owned),
            verdict,
            text: text.to_owned(),
            mend: mend.map(str::to_owned),
            fix: None,
        }
    }

    fn findings() -> Vec<Finding> {
        let setcap = "sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep /usr/local/bin/ringway";
        vec![
            finding("kernel", None, Verdict::Ok, "Linux 6.12.9 x86_64", None),
            finding("CAP_NET_ADMIN", None, Verdict::Fail, "missing: it is needed to attach an XDP program", Some(setcap)),
            finding("CAP_BPF", None, Verdict::Fail, "missing: it is needed to load an XDP program", Some(setcap)),
            finding(
                "huge-pages",
                None,
                Verdict::Warn,
                "0 of 0 of 2 MiB are free, a queue takes 4: frames lie on ordinary pages",
                Some("sudo sysctl vm.nr_hugepages=64"),
            ),
            finding("link", Some("veth0"), Verdict::Ok, "up, with a carrier", Some("this is not shown")),
            finding("attach", Some("veth0"), Verdict::Skipped, "not tried without CAP_BPF", None),
            finding("overview", Some("eth0"), Verdict::Ok, "ice, MTU 1500, 8 queues, no XDP program", None),
            finding("overview", Some("eth1"), Verdict::Skipped, "down; ice, MTU 1500, 8 queues, no XDP program", None),
        ]
    }

    #[test]
    fn a_report_fits_a_terminal() {
        let report = report(&findings(), false);
        assert!(report.lines().all(|line| line.chars().count() <= WIDTH), "{report}");
        insta::assert_snapshot!(report);
    }

    #[test]
    fn colours_change_nothing_but_the_verdicts() {
        let painted = report(&findings(), true);
        assert!(painted.contains("\x1b[1;31mfail\x1b[0m") && painted.contains("\x1b[32mok  \x1b[0m"), "{painted}");
        let mut plain = painted;
        for code in ["\x1b[32m", "\x1b[2m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"] {
            plain = plain.replace(code, "");
        }
        assert_eq!(plain, report(&findings(), false));
    }

    #[test]
    fn a_broken_command_is_still_one() {
        let command = "sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep /usr/local/bin/ringway";
        let joined = broken(command).replace("\\\n", " ");
        assert_eq!(joined.split_whitespace().collect::<Vec<_>>().join(" "), command);
    }
}
