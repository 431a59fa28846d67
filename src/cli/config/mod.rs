//! The configuration file of `ringway serve`: read, laid under the command line, printed, compared.
//!
//! A file says what options say: [`file`] makes words of the command line of it, the words of the real one follow, and all of them go through the one
//! parser there is. So a key takes what its option takes, with the same bounds and the same errors, which are given their line and column; and a new
//! option is a key at once. [`Effective`] is what it comes to, key by key: `print` writes it as a file again, a reload compares two of them.
//! Called by [`super::main`] and by `serve`. Nothing here panics, whatever a file says.

mod file;
mod keys;
mod print;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use ringway::error::SetupError;
use ringway::settings::{KEYS, Settings};

use self::file::{File, Word};
use self::keys::{ADDRESS_ID, Form, INTERFACE_ID, Key, SERVICES, SETTINGS_ID};
use super::args::{Cli, Command as SubCommand};
use super::usage;

pub(crate) use self::print::toml;

/// What the options of `ringway serve` come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effective {
    entries: Vec<Entry>,
}

/// One key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// `deny`, `tcp.msl`.
    pub(crate) name: String,
    /// Its values, as their option takes them; none, where it has none.
    pub(crate) values: Vec<String>,
    /// Where they come from.
    from: Origin,
    form: Form,
    help: String,
    placeholder: String,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Default,
    File,
    CommandLine,
}

/// The command line with the file at `path` laid under it, if there is one.
///
/// # Errors
/// The file cannot be read, or says what is not to be said; then its line and column are told.
pub(crate) fn read(arguments: &[OsString], path: Option<&Path>) -> Result<(Cli, Effective), SetupError> {
    let command = command();
    let text = path.map_or_else(|| Ok(String::new()), load)?;
    let serve = command.find_subcommand("serve").cloned().unwrap_or_default();
    let keys = keys::keys(&serve);
    let file = File::read(path.unwrap_or(Path::new("")), &text, &keys)?;
    let explain = |error: &clap::Error| usage::explain(error, arguments);
    let given = command.clone().try_get_matches_from(arguments).map_err(|error| explain(&error))?;
    let words: Vec<OsString> =
        file.words().iter().filter(|word| !is_dropped(word, &given)).map(|word| word.text.clone().into()).collect();
    // Behind the name of the command, so that all that is given goes after what the file says.
    let behind = arguments.iter().skip(1).position(|word| word == "serve").map_or(arguments.len(), |at| at + 2);
    let (before, after) = arguments.split_at(behind);
    let all: Vec<OsString> = before.iter().chain(&words).chain(after).cloned().collect();
    let matches = command.try_get_matches_from(all).map_err(|error| explain(&error))?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| explain(&error))?;
    let SubCommand::Serve(args) = &mut cli.command else {
        return Err(SetupError::usage("cannot read a configuration", "it belongs to ringway serve"));
    };
    args.arguments = arguments.to_vec();
    let settings = args.engine.settings().map_err(|error| file.of_all(error))?;
    let serve = matches
        .subcommand_matches("serve")
        .ok_or_else(|| SetupError::usage("cannot read a configuration", "the command is missing"))?;
    let effective = Effective::of(&keys, serve, &given, &settings, &file)?;
    Ok((cli, effective))
}

/// The command line, as clap knows it.
fn command() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

/// True for what of the file does not hold: what the command line says itself, and the addresses of interfaces that it does not name, where it names some.
fn is_dropped(word: &Word, given: &ArgMatches) -> bool {
    let elsewhere = || {
        let named = given
            .subcommand_matches("serve")
            .filter(|serve| serve.value_source(INTERFACE_ID) == Some(ValueSource::CommandLine))?;
        let of = word.text.strip_prefix("--address=")?.split_once('=')?.0;
        Some(!named.get_many::<String>(INTERFACE_ID)?.any(|interface| interface == of))
    };
    is_overridden(&word.id, given) || word.id == ADDRESS_ID && elsewhere() == Some(true)
}

/// True for what the command line says itself. Its settings are laid over those of the file one by one.
fn is_overridden(id: &str, given: &ArgMatches) -> bool {
    let is_given = |id: &str| {
        given.subcommand_matches("serve").is_some_and(|serve| serve.value_source(id) == Some(ValueSource::CommandLine))
    };
    match id {
        SETTINGS_ID => false,
        _ => is_given(id),
    }
}

fn load(path: &Path) -> Result<String, SetupError> {
    let refused = |why: String| SetupError::usage(format!("cannot read the configuration {}", path.display()), why);
    let octets =
        fs::read(path).map_err(|error| refused(error.to_string()).mend("ringway serve --print-config > FILE writes one"))?;
    if octets.len() > LONGEST {
        return Err(refused(format!("it has {} octets; {LONGEST} is the most", octets.len())));
    }
    String::from_utf8(octets).map_err(|error| refused(error.to_string()))
}

/// The most octets of a file: some tens of thousands of prefixes.
const LONGEST: usize = 1 << 20;

impl Effective {
    fn of(keys: &[Key], all: &ArgMatches, given: &ArgMatches, settings: &Settings, file: &File<'_>) -> Result<Self, SetupError> {
        let origin = |id: &str| match all.value_source(id) {
            Some(ValueSource::CommandLine) if id != SETTINGS_ID && is_overridden(id, given) => Origin::CommandLine,
            Some(ValueSource::CommandLine) => Origin::File,
            _ => Origin::Default,
        };
        let mut entries = Vec::new();
        for key in keys {
            let values = match key.form {
                Form::Switch => vec![all.get_flag(&key.id).to_string()],
                _ => values(all, &key.id)?,
            };
            entries.push(Entry {
                name: key.name.clone(),
                values,
                from: origin(&key.id),
                form: key.form,
                help: key.help.clone(),
                placeholder: key.placeholder.clone(),
            });
        }
        for (id, name) in [(INTERFACE_ID, "interface"), (ADDRESS_ID, "interface.addresses")] {
            let (help, placeholder) = (String::new(), String::new());
            entries.push(Entry {
                name: name.to_owned(),
                values: values(all, id)?,
                from: origin(id),
                form: Form::List,
                help,
                placeholder,
            });
        }
        let given: Vec<String> = given.subcommand_matches("serve").map_or(Ok(Vec::new()), |serve| values(serve, SETTINGS_ID))?;
        for key in KEYS {
            let sets = |text: &str| text.strip_prefix(key.name).is_some_and(|rest| rest.starts_with('='));
            let in_file = |word: &file::Word| word.id == SETTINGS_ID && word.text.strip_prefix("--set=").is_some_and(sets);
            let from = match () {
                () if given.iter().any(|text| sets(text)) => Origin::CommandLine,
                () if file.words().iter().any(in_file) => Origin::File,
                () => Origin::Default,
            };
            entries.push(Entry {
                name: key.name.to_owned(),
                values: vec![key.show(settings)],
                from,
                form: Form::Word,
                help: key.what.to_owned(),
                placeholder: key.unit(),
            });
        }
        Ok(Self { entries })
    }

    /// The values of a key; none of one that is not there.
    pub(crate) fn values(&self, name: &str) -> &[String] {
        self.entries.iter().find(|entry| entry.name == name).map_or(&[], |entry| &entry.values)
    }

    /// The keys whose values are others in `new`, each with the old ones and the new ones.
    pub(crate) fn differences<'a>(&'a self, new: &'a Self) -> impl Iterator<Item = (&'a Entry, &'a Entry)> {
        self.entries.iter().zip(&new.entries).filter(|(old, new)| old.values != new.values)
    }

    /// Takes the values of one key over.
    pub(crate) fn adopt(&mut self, new: &Entry) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == new.name) {
            *entry = new.clone();
        }
    }
}

/// What was given to an option, as it was given.
fn values(matches: &ArgMatches, id: &str) -> Result<Vec<String>, SetupError> {
    let raw = matches.get_raw(id).into_iter().flatten();
    raw.map(|value| {
        let refused = || SetupError::usage(format!("cannot use '{}' with a configuration", value.display()), "it is not UTF-8");
        value.to_str().map(str::to_owned).ok_or_else(refused)
    })
    .collect()
}

/// Where the services are missing that neither the file nor the command line has.
pub(crate) fn check_services(args: &super::args::ServeArgs) -> Result<(), SetupError> {
    if !args.services.is_empty() {
        return Ok(());
    }
    let why = format!("neither the command line nor the configuration names any ({SERVICES})");
    Err(SetupError::usage("cannot serve without services", why).mend("services = [\"echo:7\"]"))
}
