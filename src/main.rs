//! The `hallpass` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hallpass::cli::main()
}
