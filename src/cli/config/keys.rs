//! The keys of the configuration file: one for each option of `ringway serve`, and one for each setting.
//!
//! Made from the command line's own description, so that an option is a key as soon as there is one: its name, with `_` for `-`; what it takes; and its
//! help. Only what belongs to one call of the command is no key. Read by `file` and `print`. Nothing here panics on what a file says.

use clap::{Arg, ArgAction, Command};
use ringway::settings::KEYS;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `true` or `false`.
    Switch,
    /// One value.
    Word,
    /// A list of values, or one.
    List,
}

/// A key at the top of the file.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// `accept_ra`.
    pub(super) name: String,
    /// What clap calls it.
    pub(super) id: String,
    /// `--accept-ra`; none for the services, which are words by themselves.
    pub(super) option: Option<String>,
    /// What it takes.
    pub(super) form: Form,
    /// What the help says of it.
    pub(super) help: String,
    /// What the help calls its value.
    pub(super) placeholder: String,
}

/// The services, which are no option.
pub(super) const SERVICES: &str = "services";
/// The tables of interfaces, with their addresses.
pub(super) const INTERFACE: &str = "interface";
/// Their ids on the command line.
pub(super) const INTERFACE_ID: &str = "interfaces";
pub(super) const ADDRESS_ID: &str = "addresses";
pub(super) const SETTINGS_ID: &str = "settings";

/// What belongs to one call of the command, and what has a table of its own.
const NO_KEYS: [&str; 7] = ["config", "print-config", "json", "help", "set", "interface", "address"];

/// The keys at the top, in the order of the help; the services go first.
pub(super) fn keys(serve: &Command) -> Vec<Key> {
    let services = serve.get_arguments().filter(|arg| arg.get_id() == SERVICES);
    let options = serve.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| !NO_KEYS.contains(&long)));
    services.chain(options).map(Key::of).collect()
}

impl Key {
    fn of(arg: &Arg) -> Self {
        let option = arg.get_long().map(|long| format!("--{long}"));
        let form = match arg.get_action() {
            ArgAction::SetTrue => Form::Switch,
            ArgAction::Append => Form::List,
            _ => Form::Word,
        };
        Self {
            name: arg.get_long().map_or_else(|| arg.get_id().to_string(), |long| long.replace('-', "_")),
            id: arg.get_id().to_string(),
            option,
            form,
            help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
            placeholder: arg.get_value_names().unwrap_or_default().join(" "),
        }
    }

    /// The word of the command line that says the same.
    pub(super) fn word(&self, value: &str) -> String {
        self.option.as_ref().map_or_else(|| value.to_owned(), |option| format!("{option}={value}"))
    }
}

/// The tables of settings, in the order of their listing: `tcp`, `xsk` and so on.
pub(super) fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = KEYS.iter().filter_map(|key| key.name.split_once('.')).map(|(group, _)| group).collect();
    groups.dedup();
    groups
}
