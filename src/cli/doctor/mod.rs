//! `ringway doctor`: says what stands in the way, each with the command that mends it, and runs the harmless ones of them where asked to.

pub(crate) mod args;
mod text;

use ringway::doctor::{Finding, Fix, Interface, Machine, Verdict};
use ringway::error::SetupError;
use serde_json::{Value, json};

use self::args::DoctorArgs;
use super::failure::Failure;
use super::output::Output;

/// Examines, mends where asked to, and ends with 3 when something fails.
pub(crate) fn run(args: &DoctorArgs, output: Output) -> Result<(), Failure> {
    args.check()?;
    let colour = output.colours();
    let findings = examine(args);
    show(&findings, output, colour);
    let findings = if args.fix { mend(args, findings, output, colour) } else { findings };
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (ok, skip) = (count(Verdict::Ok), count(Verdict::Skipped));
    let (warn, fail) = (count(Verdict::Warn), count(Verdict::Fail));
    output.text(format!("\n{ok} ok, {skip} skip, {warn} warn, {fail} fail"));
    output.event("summary", &json!({ "ok": ok, "skip": skip, "warn": warn, "fail": fail }));
    match fail {
        0 => Ok(()),
        _ => Err(not_ready(&findings, args).into()),
    }
}

fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let machine = Machine::read();
    let mut findings = machine.findings();
    for name in &args.interfaces {
        match Interface::read(name, &machine, args.trying()) {
            Ok(interface) => findings.extend(interface.findings(&machine)),
            Err(error) => findings.push(Finding::refused("interface", name, &error)),
        }
    }
    if args.interfaces.is_empty() {
        findings.extend(Interface::overview());
    }
    findings
}

fn show(findings: &[Finding], output: Output, colour: bool) {
    for finding in findings {
        output.event("finding", &event(finding));
    }
    output.text(text::report(findings, colour).trim_end());
}

/// Runs what is harmless, in the order of the report, and examines once more. What an interface needs may show only when the link is up, so there are
/// several rounds; nothing is run twice.
fn mend(args: &DoctorArgs, mut findings: Vec<Finding>, output: Output, colour: bool) -> Vec<Finding> {
    const ROUNDS: usize = 3;
    let mut done: Vec<Fix> = Vec::new();
    for _ in 0..ROUNDS {
        let wanted = findings.iter().filter(|finding| finding.verdict != Verdict::Ok).filter_map(|finding| finding.fix.clone());
        let wanted: Vec<Fix> = wanted.filter(|fix| !done.contains(fix)).collect();
        if wanted.is_empty() {
            break;
        }
        for fix in wanted {
            output.text(format!("\nfix: {fix}"));
            let failed = fix.apply().err().map(|error| error.to_string());
            output.event("fix", &json!({ "command": fix.to_string(), "error": failed }));
            if let Some(error) = failed {
                output.text(format!("     {error}"));
            }
            done.push(fix);
        }
        findings = examine(args);
    }
    if done.is_empty() {
        output.text("\nfix: nothing that is amiss can be mended without harm");
    } else {
        output.text("");
        show(&findings, output, colour);
    }
    findings
}

fn event(finding: &Finding) -> Value {
    json!({
        "check": finding.check,
        "interface": finding.interface,
        "verdict": finding.verdict.name(),
        "text": finding.text,
        "mend": finding.mend,
        "harmless": finding.fix.is_some(),
    })
}

fn not_ready(findings: &[Finding], args: &DoctorArgs) -> SetupError {
    let failed: Vec<_> = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).collect();
    let mut names: Vec<_> = failed.iter().map(|finding| finding.check).collect();
    names.dedup();
    let what = match args.interfaces.as_slice() {
        [] => "this machine is not ready".to_owned(),
        names => format!("not ready to run on {}", names.join(", ")),
    };
    let why = format!("{} of {} checks fail: {}", failed.len(), findings.len(), names.join(", "));
    let error = SetupError::environment(what, why);
    match failed.iter().any(|finding| finding.fix.is_some()) && !args.fix {
        true => error.mend(format!("sudo ringway doctor -i {} --fix", args.interfaces.join(" -i "))),
        false => error.mend("what stands behind each of them"),
    }
}

#[cfg(test)]
mod tests {
    use ringway::doctor::Verdict;

    use super::*;

    #[test]
    fn a_finding_is_an_object_of_the_same_fields_whatever_it_is() {
        let mut finding = Finding::refused("interface", "veth9", &SetupError::environment("cannot use it", "it is not there"));
        let refused = event(&finding).to_string();
        (finding.check, finding.interface, finding.verdict, finding.mend) =
            ("thp", None, Verdict::Warn, Some("do it".to_owned()));
        insta::assert_snapshot!(format!("{refused}\n{}", event(&finding)));
    }
}
