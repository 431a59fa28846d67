//! The text of a configuration file as words of the command line, each with its place.
//!
//! Called by [`super::read`]. Knows TOML and which keys there are; what their values have to be like is the business of the options' own parsers.
//! Any text gives words or an error with a line and a column; nothing here panics.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Command;
use ringway::error::SetupError;
use ringway::settings::{KEYS, Settings};
use ringway::words::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, ADDRESS_ID, Form, INTERFACE, INTERFACE_ID, Key, SERVICES, SETTINGS_ID};
use crate::cli::service_spec::ServiceSpec;
use crate::cli::usage;

/// A word of the command line that the file says.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Whose value it is, as clap calls it.
    pub(super) id: String,
    /// The word.
    pub(super) text: String,
    /// The key, as errors name it.
    name: String,
    /// The option that takes it, with the word in front of it that errors of its parser use.
    option: Option<String>,
    form: Form,
    at: Range<usize>,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct File<'a> {
    path: PathBuf,
    text: &'a str,
    keys: &'a [Key],
    words: Vec<Word>,
}

/// A value and where it stands.
type Value<'i> = Spanned<DeValue<'i>>;
type Name<'i> = Spanned<std::borrow::Cow<'i, str>>;

impl<'a> File<'a> {
    /// Reads the text; the words stand in its order.
    pub(super) fn read(path: &Path, text: &'a str, keys: &'a [Key]) -> Result<Self, SetupError> {
        let mut file = Self { path: path.to_owned(), text, keys, words: Vec::new() };
        let table = DeTable::parse(text).map_err(|error| {
            let why = error.message().replace('\n', ", ");
            let at = error.span().unwrap_or(0..0);
            file.refuse(&at, SetupError::usage("cannot read the configuration", why))
        })?;
        // The table is sorted by name: of several errors the first in the file is told.
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            file.entry(name, value)?;
        }
        Ok(file)
    }

    /// What it says.
    pub(super) fn words(&self) -> &[Word] {
        &self.words
    }

    fn entry(&mut self, name: &Name<'_>, value: &Value<'_>) -> Result<(), SetupError> {
        let word: &str = name.get_ref();
        if let Some(key) = self.keys.iter().find(|key| key.name == word) {
            return self.option(key, value);
        }
        if word == INTERFACE {
            return self.interfaces(value);
        }
        if keys::groups().contains(&word) {
            return self.settings(word, value);
        }
        let own = self.keys.iter().map(|key| key.name.as_str());
        let known = own.chain([INTERFACE]).chain(keys::groups());
        let setting = KEYS.iter().find(|key| key.name.split_once('.').is_some_and(|(_, tail)| tail == word)).map(|key| key.name);
        let nearest = setting.or_else(|| nearest(word, known)).map(str::to_owned);
        let (word, at) = (word.to_owned(), name.span());
        Err(self.unknown(&at, &word, nearest))
    }

    /// A value of an option.
    fn option(&mut self, key: &Key, value: &Value<'_>) -> Result<(), SetupError> {
        let word = |text: String, at: Range<usize>| Word {
            id: key.id.clone(),
            text,
            name: key.name.clone(),
            option: key.option.clone(),
            form: key.form,
            at,
        };
        if key.form == Form::Switch {
            return match value.get_ref() {
                DeValue::Boolean(false) => Ok(()),
                DeValue::Boolean(true) => {
                    self.words.push(word(key.option.clone().unwrap_or_default(), value.span()));
                    Ok(())
                }
                other => {
                    let why = format!("it is true or false, not {}", kind(other));
                    let error = SetupError::usage(format!("cannot set {}", key.name), why);
                    Err(self.refuse(&value.span(), error.mend(format!("{} = true", key.name))))
                }
            };
        }
        let values = match (key.form, value.get_ref()) {
            (Form::List, DeValue::Array(items)) => items.iter().collect(),
            // A list of numbers, as of queues, is one word: 0,1,2.
            (Form::Word, DeValue::Array(items)) => {
                let numbers: Option<Vec<_>> =
                    items.iter().map(|item| item.get_ref().as_integer().map(|n| n.to_string())).collect();
                let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
                    let error = SetupError::usage(format!("cannot set {}", key.name), "it takes one value, or a list of numbers");
                    return Err(self.refuse(&value.span(), error));
                };
                return self.checked(word(key.word(&numbers.join(",")), value.span()));
            }
            _ => vec![value],
        };
        for value in values {
            let text = self.scalar(&key.name, value)?;
            self.checked(word(key.word(&text), value.span()))?;
        }
        Ok(())
    }

    /// `[[interface]]`: a name, and the addresses that are claimed there.
    fn interfaces(&mut self, value: &Value<'_>) -> Result<(), SetupError> {
        let shape = "each interface is a table of its own, [[interface]], with a name and addresses";
        let wrong = |file: &Self, at: &Range<usize>| {
            let error = SetupError::usage("cannot read the interface", shape);
            file.refuse(at, error.mend("[[interface]], and below it name = \"eth0\""))
        };
        let DeValue::Array(tables) = value.get_ref() else { return Err(wrong(self, &value.span())) };
        for table in tables.iter() {
            let DeValue::Table(entries) = table.get_ref() else { return Err(wrong(self, &table.span())) };
            let Some((_, name)) = entries.iter().find(|(key, _)| key.get_ref() == "name") else {
                return Err(wrong(self, &table.span()));
            };
            let DeValue::String(interface) = name.get_ref() else { return Err(wrong(self, &name.span())) };
            let word = |id: &str, option: &str, text: &str, at| Word {
                id: id.to_owned(),
                text: format!("{option}={text}"),
                name: format!("{INTERFACE}.{id}"),
                option: Some(option.to_owned()),
                form: Form::List,
                at,
            };
            self.checked(word(INTERFACE_ID, "--interface", interface, name.span()))?;
            let mut entries: Vec<_> = entries.iter().filter(|(key, _)| key.get_ref() != "name").collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            for (key, value) in entries {
                if key.get_ref() != ADDRESS_ID {
                    let near = nearest(key.get_ref(), [ADDRESS_ID, "name"]).map(str::to_owned);
                    return Err(self.misplaced(key, near, INTERFACE));
                }
                let addresses = match value.get_ref() {
                    DeValue::Array(addresses) => addresses.iter().collect(),
                    _ => vec![value],
                };
                for address in addresses {
                    let text = format!("{interface}={}", self.scalar("addresses", address)?);
                    self.checked(word(ADDRESS_ID, "--address", &text, address.span()))?;
                }
            }
        }
        Ok(())
    }

    /// A table of settings: `[tcp]`.
    fn settings(&mut self, group: &str, value: &Value<'_>) -> Result<(), SetupError> {
        let DeValue::Table(entries) = value.get_ref() else {
            let error = SetupError::usage(
                format!("cannot set {group}"),
                format!("it is a table, [{group}], not {}", kind(value.get_ref())),
            );
            return Err(self.refuse(&value.span(), error));
        };
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = format!("{group}.{}", key.get_ref());
            if !KEYS.iter().any(|known| known.name == name) {
                let near = nearest(&name, KEYS.iter().map(|key| key.name)).map(str::to_owned);
                return Err(self.misplaced(key, near, group));
            }
            let text = match value.get_ref() {
                DeValue::Boolean(on) => if *on { "on" } else { "off" }.to_owned(),
                _ => self.scalar(&name, value)?,
            };
            self.checked(Word {
                id: SETTINGS_ID.to_owned(),
                text: format!("--set={name}={text}"),
                name,
                option: Some("--set".to_owned()),
                form: Form::Word,
                at: value.span(),
            })?;
        }
        Ok(())
    }

    /// A single value as it stands on the command line.
    fn scalar(&self, name: &str, value: &Value<'_>) -> Result<String, SetupError> {
        match value.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                let error = SetupError::usage(format!("cannot set {name}"), "a value has no NUL in it");
                Err(self.refuse(&value.span(), error))
            }
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Float(number) => Ok(number.to_string()),
            other => {
                let error = SetupError::usage(
                    format!("cannot set {name}"),
                    format!("it takes a string or a number, not {}", kind(other)),
                );
                Err(self.refuse(&value.span(), error))
            }
        }
    }

    /// Has the option's own parser look at a word, alone: so its error has a place.
    fn checked(&mut self, word: Word) -> Result<(), SetupError> {
        match probe(&word) {
            Ok(()) => {
                self.words.push(word);
                Ok(())
            }
            Err(error) => Err(self.of_word(&word, &error)),
        }
    }

    /// An error about a word, in the words of the file.
    fn of_word(&self, word: &Word, error: &SetupError) -> SetupError {
        let option = word.option.as_deref().unwrap_or_default();
        let what = if option.is_empty() { error.what().to_owned() } else { error.what().replace(option, &word.name) };
        let mended = SetupError::usage(what, error.why());
        let mended = match error.remedy() {
            Some(remedy) => mended.mend(word.remedy(remedy)),
            None => mended,
        };
        self.refuse(&word.at, mended)
    }

    /// An error that came of all words together: where a setting of this file is to blame for it, that is its place.
    pub(super) fn of_all(&self, error: SetupError) -> SetupError {
        let is_blamed = |word: &&Word| word.id == SETTINGS_ID && error.why().split([' ', ':', ',']).any(|part| part == word.name);
        match self.words.iter().rfind(is_blamed) {
            Some(word) => self.of_word(word, &error),
            None => error,
        }
    }

    fn unknown(&self, at: &Range<usize>, name: &str, nearest: Option<String>) -> SetupError {
        let error =
            SetupError::usage(format!("there is no key '{name}'"), "the keys are listed by: ringway serve --print-config");
        self.refuse(
            at,
            match nearest {
                Some(nearest) => error.mend(nearest),
                None => error,
            },
        )
    }

    /// A key that a table does not have. One of the top was most likely meant to stand there: TOML counts what follows a table to it.
    fn misplaced(&self, key: &Name<'_>, nearest: Option<String>, table: &str) -> SetupError {
        let name: &str = key.get_ref();
        if self.keys.iter().any(|top| top.name == name) {
            let why = format!("it stands in the table {table}: keys without a table stand before the first one");
            let error = SetupError::usage(format!("cannot set {name} here"), why).mend(format!("{name} above the first [table]"));
            return self.refuse(&key.span(), error);
        }
        self.unknown(&key.span(), &format!("{table}.{name}"), nearest)
    }

    fn refuse(&self, at: &Range<usize>, error: SetupError) -> SetupError {
        let (line, column) = place(self.text, at.start);
        error.at(&self.path, line, column)
    }
}

impl Word {
    /// What mends an option, as the file says it.
    fn remedy(&self, remedy: &str) -> String {
        let of_option = self.option.as_ref().and_then(|option| remedy.strip_prefix(option.as_str())).map(str::trim_start);
        // Where an option has a short form, its errors use that.
        let value = match of_option.or_else(|| remedy.strip_prefix("-a ")) {
            Some(value) => value.trim_start_matches('='),
            None => return remedy.to_owned(),
        };
        if self.id == SETTINGS_ID {
            return match value.split_once('=') {
                Some((name, value)) => format!("{name} = {}", super::print::quoted(value)),
                None => value.to_owned(),
            };
        }
        // The interface is the table's.
        let value = if self.id == ADDRESS_ID { value.split_once('=').map_or(value, |(_, address)| address) } else { value };
        match self.form {
            Form::Word if !value.contains(' ') => format!("{} = {}", self.name, super::print::quoted(value)),
            _ if !value.contains(' ') => super::print::quoted(value),
            _ => value.to_owned(),
        }
    }
}

/// Runs a word through the parser of its option.
fn probe(word: &Word) -> Result<(), SetupError> {
    match word.id.as_str() {
        SERVICES => word.text.parse::<ServiceSpec>().map(drop),
        SETTINGS_ID => Settings::default().set(word.text.trim_start_matches("--set=")),
        _ => {
            let line = ["ringway", "serve", "--config=FILE", &word.text].map(std::ffi::OsString::from);
            let parsed = probing().try_get_matches_from(&line);
            parsed.map(drop).map_err(|error| usage::explain(&error, &line))
        }
    }
}

/// The command line, described once.
fn probing() -> Command {
    static COMMAND: std::sync::LazyLock<Command> = std::sync::LazyLock::new(super::command);
    COMMAND.clone()
}

/// Line and column of an octet, both from 1; a column is a character.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// What a value is, to a person.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
