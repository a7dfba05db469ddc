//! Compiles the schemas with protox: no protoc is needed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn schemas(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            schemas(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=trunkline");
    println!("cargo:rerun-if-changed=third_party");
    let mut files = Vec::new();
    schemas(Path::new("trunkline"), &mut files)?;
    files.sort();
    let mut compiler = protox::Compiler::new([".", "third_party"])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptor.binpb"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .bytes(".")
        .include_file("trunkline.rs")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
