//! Generates messages and stubs from `proto/`.

fn main() -> std::io::Result<()> {
    println!("cargo:rerun-if-changed=proto");
    let mut config = prost_build::Config::new();
    // Payloads are slices of the buffer they arrived in, not copies.
    config.bytes(["."]);
    config.btree_map(["."]);
    tonic_prost_build::configure().build_transport(true).codec_path("crate::SizedCodec").compile_with_config(
        config,
        &[
            "proto/binlog.proto",
            "proto/pump.proto",
            "proto/cistern.proto",
            "proto/pb_binlog.proto",
            "proto/store.proto",
            "proto/pdpb.proto",
            "proto/tikvpb.proto",
        ],
        &["proto"],
    )
}
