//! Files for banks and files of banks: written, read back, broken, and held against the schemas.

mod camt;
mod hostile;
mod pain001;
mod pain002;

use std::path::PathBuf;
use std::process::Command;

/// The variable that names the folder with the schemas.
const SCHEMAS: &str = "PAYMASTER_XSD";

/// Fails unless the schema `name` takes `bytes`. Where schemas or the validator are not at hand it says so.
fn valid(name: &str, bytes: &[u8], label: &str) {
    let Some(folder) = std::env::var_os(SCHEMAS).map(PathBuf::from) else {
        println!("{label}: not held against {name}, {SCHEMAS} names no folder");
        return;
    };
    let schema = folder.join(format!("{name}.xsd"));
    if !schema.exists() || Command::new("xmllint").arg("--version").output().is_err() {
        println!("{label}: not held against {name}, the schema or xmllint is missing");
        return;
    }
    let file = std::env::temp_dir().join(format!("paymaster-{}-{label}-{name}.xml", std::process::id()));
    std::fs::write(&file, bytes).unwrap();
    let told =
        Command::new("xmllint").args(["--noout", "--stream", "--schema"]).arg(schema).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(told.status.success(), "{label}: {}", String::from_utf8_lossy(&told.stderr));
}
