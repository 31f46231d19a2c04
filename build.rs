//! Linker options of the program.

use std::env::var;

/// Addresses that are set when the program is loaded take eight megabytes of memory in each process, packed next to none.
/// Packed ones need glibc 2.36 or another loader of 2022 and later.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_ARCH", "x86_64")
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
