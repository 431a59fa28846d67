//! The parser's errors in the words of all others: what, why, and what mends it.

use std::ffi::OsString;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use ringway::error::SetupError;

use super::args::Cli;

/// The names of all commands, with this word before the last.
pub(crate) fn commands(before_last: &str) -> String {
    let whole = Cli::command();
    let names: Vec<_> =
        whole.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name()).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} {before_last} {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A usage error that says what clap says.
pub(crate) fn explain(error: &clap::Error, arguments: &[OsString]) -> SetupError {
    // Our own value parsers give the whole error themselves.
    if let Some(own) = std::error::Error::source(error).and_then(|source| source.downcast_ref::<SetupError>()) {
        return with_its_option(own, error);
    }
    let command = command_of(arguments);
    let text = |kind| error.get(kind).map(show);
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let help = format!("{command} --help");
    match error.kind() {
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            SetupError::usage(format!("cannot use '{argument}'"), format!("{command} takes no such word here")).mend(help)
        }
        ErrorKind::UnknownArgument => {
            let suggested = text(ContextKind::SuggestedArg);
            SetupError::usage(format!("cannot use '{argument}'"), format!("{command} has no such option"))
                .mend(suggested.unwrap_or(help))
        }
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let mend = text(ContextKind::SuggestedSubcommand).map_or(help, |word| format!("ringway {word}"));
            SetupError::usage(format!("cannot run '{word}'"), format!("the commands are {}", commands("and"))).mend(mend)
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            SetupError::usage("cannot tell what to do", format!("the command is missing: {}", commands("or"))).mend(help)
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            SetupError::usage(format!("cannot use {}", option(&argument)), "its value is missing").mend(help)
        }
        ErrorKind::InvalidValue => {
            let words = text(ContextKind::ValidValue).unwrap_or_default();
            let invalid =
                SetupError::usage(format!("cannot set {} to '{value}'", option(&argument)), format!("it takes one of {words}"));
            match text(ContextKind::SuggestedValue) {
                Some(word) if argument.starts_with('-') => invalid.mend(format!("{} {word}", option(&argument))),
                Some(word) => invalid.mend(word),
                None => invalid.mend(help),
            }
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map_or_else(|| "it is malformed".to_owned(), ToString::to_string);
            SetupError::usage(format!("cannot set {} to '{value}'", option(&argument)), why).mend(help)
        }
        ErrorKind::MissingRequiredArgument => {
            SetupError::usage("cannot run this command line", format!("{argument} is missing")).mend(help)
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg).unwrap_or_default();
            if other == argument || other.is_empty() {
                return SetupError::usage(format!("cannot use {argument} twice"), "it takes one value").mend(help);
            }
            SetupError::usage(format!("cannot use {} with {}", option(&argument), option(&other)), "they exclude each other")
                .mend(help)
        }
        ErrorKind::InvalidUtf8 => SetupError::usage("cannot read the command line", "an argument is not valid UTF-8"),
        _ => {
            let rendered = error.to_string();
            let first = rendered.lines().next().unwrap_or_default();
            SetupError::usage("cannot read the command line", first.trim_start_matches("error: ")).mend(help)
        }
    }
}

/// Names the option that a value was given to: a parser that serves several knows none of them. An address is mended as one of `-a`; where it was
/// given to another option, that one is named.
fn with_its_option(own: &SetupError, error: &clap::Error) -> SetupError {
    let argument = error.get(ContextKind::InvalidArg).map(show).unwrap_or_default();
    let given = option(&argument);
    let remedy = own.remedy().unwrap_or_default();
    match remedy.strip_prefix("-a ") {
        Some(word) if given.ends_with("-address") && given != "--address" => own.clone().mend(format!("{given} {word}")),
        None if given.starts_with('-') && !remedy.is_empty() && !remedy.starts_with('-') => {
            own.clone().mend(format!("{given} {remedy}"))
        }
        _ => own.clone(),
    }
}

/// True when the arguments ask for JSON; needed where they could not be parsed.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json" || word == "-J")
}

/// `ringway serve` for the arguments of serve.
fn command_of(arguments: &[OsString]) -> String {
    let whole = Cli::command();
    let named = |word: &OsString| whole.get_subcommands().find(|command| word == command.get_name());
    match arguments.iter().skip(1).find_map(named) {
        Some(command) => format!("ringway {}", command.get_name()),
        None => "ringway".to_owned(),
    }
}

/// `--rate` of `--rate <PER_SECOND>`.
fn option(argument: &str) -> &str {
    if argument.starts_with('-') { argument.split([' ', '=', '[']).next().unwrap_or(argument) } else { argument }
}

fn show(value: &ContextValue) -> String {
    match value {
        ContextValue::Strings(words) => words.join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scripts/package.sh has no list of its own: it makes a page for what sed finds in the help.
    #[test]
    fn the_package_has_a_manual_page_for_every_command() {
        let script = include_str!("../../scripts/package.sh");
        assert!(script.contains(r"sed -n '/^Commands:/,/^$/s/^  \([a-z][-a-z]*\) .*/\1/p'"), "the script looks elsewhere");
        let help = Cli::command().render_long_help().to_string();
        let lines = help.lines().skip_while(|line| *line != "Commands:").take_while(|line| !line.is_empty());
        let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(name, _)| name);
        let listed: Vec<_> = names.filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase())).collect();
        let all = Cli::command();
        let all: Vec<_> = all.get_subcommands().filter(|one| !one.is_hide_set()).map(|one| one.get_name()).collect();
        assert_eq!(listed, all);
        for name in listed {
            assert!(crate::cli::manual(Some(name)).is_ok_and(|page| !page.is_empty()), "{name}");
        }
    }
}
