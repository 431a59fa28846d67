//! `ringway show`: asks a running process over its control socket, and prints the rows as they come.

pub(crate) mod args;
mod text;

use self::args::ShowArgs;
use self::text::Text;
use super::failure::Failure;
use super::output::Output;

/// Asks, and prints the answer.
pub(crate) fn run(args: &ShowArgs, output: Output) -> Result<(), Failure> {
    let request = args.request()?;
    let mut text = Text::new(args.brief);
    let summary = args.process.ask(&request, |line| {
        output.line(line);
        if let Ok(row) = serde_json::from_str(line) {
            output.text(text.row(&row).trim_end());
        }
    })?;
    output.line(&summary.to_string());
    if summary["more"] == true {
        output.text(format!("({} shown, there are more: --limit)", summary["rows"]));
    }
    Ok(())
}
