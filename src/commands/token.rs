//! `siji token`

use std::process::ExitCode;

use rand::Rng;

use crate::cli::{self, Output};
use crate::failure::{DONE, Failure};

/// A new token of 192 random bits.
pub fn draw() -> String {
    let mut bytes = [0u8; 24];
    rand::rng().fill_bytes(&mut bytes);
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

pub fn run(args: &cli::Token) -> Result<ExitCode, Failure> {
    let token = draw();
    let hash = siji_collector::hash_token(&token);
    match args.output {
        Output::Json => super::print_json(&serde_json::json!({ "token": token, "sha256": hash }))?,
        Output::Text => super::print(format!(
            "token   {token}   (give it to the sender; it is not kept anywhere)\n\
             sha256  {hash}   (put it into [[collector.tokens]])"
        ))?,
    }
    Ok(ExitCode::from(DONE))
}
