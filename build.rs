//! Compiles `proto/` with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = ["proto/palm.proto", "proto/link.proto", "proto/status.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        // Every message has a head, and hardly any of them these.
        .boxed(".palm.link.Head.hello")
        .boxed(".palm.link.Head.welcome")
        .boxed(".palm.link.Head.status")
        .compile_fds(descriptors)?;
    Ok(())
}
