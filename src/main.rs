//! The `ringway` command.

fn main() {
    println!("ringway {}", env!("CARGO_PKG_VERSION"));
}
