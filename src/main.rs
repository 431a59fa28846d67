//! The `ringway` command. Everything it can do is in the library; the command reads arguments and prints results.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
