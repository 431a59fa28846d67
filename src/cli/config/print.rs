//! `--print-config`: the effective configuration as a file that says the same.
//!
//! Every key there is stands in it, with what the help says of it; one without a value is commented out. Called by `serve`. Pure.

use std::fmt::Write as _;

use ringway::error::SetupError;

use super::keys::{self, Form};
use super::{Effective, Entry, Origin};

/// The file.
///
/// # Errors
/// An address belongs to no interface in particular, and there are several or none.
pub(crate) fn toml(effective: &Effective) -> Result<String, SetupError> {
    let mut text = HEAD.to_owned();
    let (settings, options): (Vec<&Entry>, Vec<&Entry>) =
        effective.entries.iter().filter(|entry| !entry.name.starts_with("interface")).partition(|entry| entry.name.contains('.'));
    for entry in options {
        let _ = write!(text, "\n{}", comment(&entry.help, entry.from));
        let _ = match entry.values.as_slice() {
            [] if entry.form == Form::List => writeln!(text, "# {} = [{}]", entry.name, quoted(&entry.placeholder)),
            [] => writeln!(text, "# {} = {}", entry.name, quoted(&entry.placeholder)),
            values => writeln!(text, "{} = {}", entry.name, value(entry.form, values)),
        };
    }
    interfaces(effective, &mut text)?;
    for group in keys::groups() {
        let _ = writeln!(text, "\n[{group}]");
        for entry in &settings {
            let Some((_, name)) = entry.name.split_once('.').filter(|(of, _)| *of == group) else { continue };
            let help = format!("{}; {}", entry.help, entry.placeholder.replace('|', ", "));
            let _ = writeln!(text, "{}{name} = {}", comment(&help, entry.from), value(entry.form, &entry.values));
        }
    }
    Ok(text)
}

/// The tables of interfaces. An address that names none belongs to the only one.
fn interfaces(effective: &Effective, text: &mut String) -> Result<(), SetupError> {
    let (names, addresses) = (effective.values("interface"), effective.values("interface.addresses"));
    let owner = |address: &str| -> Option<(String, String)> {
        match (address.split_once('='), names) {
            (Some((name, address)), _) if names.iter().any(|known| known == name) => Some((name.to_owned(), address.to_owned())),
            (None, [only]) => Some((only.clone(), address.to_owned())),
            _ => None,
        }
    };
    let owned: Option<Vec<_>> = addresses.iter().map(|address| owner(address)).collect();
    let owned = owned.ok_or_else(|| {
        SetupError::usage("cannot print the addresses", "one of them belongs to no interface in particular")
            .mend("-a IF=ADDR/PREFIX")
    })?;
    let _ = write!(text, "\n{INTERFACE_HELP}");
    if names.is_empty() {
        let _ = writeln!(text, "# [[interface]]\n# name = \"IF\"\n# addresses = [\"ADDR/PREFIX[@VLAN]\"]");
    }
    for name in names {
        let own: Vec<_> = owned.iter().filter(|(of, _)| of == name).map(|(_, address)| address.clone()).collect();
        let _ = writeln!(text, "[[interface]]\nname = {}\naddresses = {}", quoted(name), value(Form::List, &own));
    }
    Ok(())
}

fn comment(help: &str, from: Origin) -> String {
    let from = match from {
        Origin::Default => "",
        Origin::File => " (from the file)",
        Origin::CommandLine => " (from the command line)",
    };
    format!("# {}{from}\n", help.replace('\n', " "))
}

fn value(form: Form, values: &[String]) -> String {
    match form {
        Form::Switch => values.concat(),
        Form::Word => quoted(values.first().map(String::as_str).unwrap_or_default()),
        Form::List => format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")),
    }
}

/// A string as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

const HEAD: &str = "\
# The effective configuration, as ringway serve --config takes it. Each key is the
# option of the same name and takes what that takes; what has no value is commented out.
";

const INTERFACE_HELP: &str = "\
# Interfaces to run on, each a table; its addresses become Ringway's, and the kernel must
# not own them. Without addresses: claim, above.
";
