//! Who a store is: checked before anything else in it is read.

use std::path::Path;

use binlog_types::{ClusterId, CommitTs, NodeId, StoreUuid};

use crate::format::{meta, sealed};
use crate::rocks::{Cf, Db, Durability};
use crate::{Error, Options};

/// What a store says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: ClusterId,
    pub(crate) node_id: NodeId,
    pub(crate) uuid: StoreUuid,
    /// How often the store was opened for writing.
    pub(crate) incarnation: u64,
    /// Of the directory.
    format: u32,
}

/// A value of `meta` under its seal.
pub(crate) fn read_meta<T>(
    db: &Db,
    key: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, crate::format::FormatError>,
) -> Result<Option<T>, Error> {
    let Some(value) = db.get(Cf::Meta, key)? else { return Ok(None) };
    sealed::open(value.as_ref())
        .and_then(decode)
        .map(Some)
        .map_err(|error| error.at(|| format!("meta {:?}", String::from_utf8_lossy(key))))
}

/// A timestamp of `meta`; zero if it was never stored.
pub(crate) fn stored_ts(db: &Db, key: &[u8]) -> Result<CommitTs, Error> {
    Ok(read_meta(db, key, meta::decode_number)?.map_or(CommitTs::ZERO, CommitTs::new))
}

impl Identity {
    /// Reads the identity of an existing store.
    pub(crate) fn read(db: &Db, dir: &Path) -> Result<Self, Error> {
        let stamp = read_meta(db, meta::STAMP, meta::Stamp::decode)?
            .ok_or_else(|| Error::NotAStore { dir: dir.to_owned() })?;
        let incarnation = read_meta(db, meta::INCARNATION, meta::decode_number)?.unwrap_or(0);
        let node_id = read_meta(db, meta::NODE_ID, |body| Ok(String::from_utf8_lossy(body).into_owned()))?
            .ok_or_else(|| Error::Corrupt {
                position: "meta \"node-id\"".to_owned(),
                what: "it is missing".to_owned(),
            })?;
        let node_id = NodeId::new(&node_id).map_err(|error| Error::Corrupt {
            position: "meta \"node-id\"".to_owned(),
            what: error.to_string(),
        })?;
        let cluster_id = ClusterId(stamp.cluster_id);
        Ok(Identity { cluster_id, node_id, uuid: stamp.uuid, incarnation, format: stamp.format })
    }

    /// Reads the identity, or makes one for a new store; counts the incarnation.
    pub(crate) fn open(db: &Db, dir: &Path, options: &Options) -> Result<Self, Error> {
        let mut batch = db.batch(256);
        let mut identity = match Identity::read(db, dir) {
            Ok(identity) => identity,
            Err(Error::NotAStore { .. }) => {
                let (cluster_id, node_id) = (options.cluster_id, options.node_id.clone());
                Identity { cluster_id, node_id, uuid: random_uuid()?, incarnation: 0, format: 0 }
            }
            Err(other) => return Err(other),
        };
        if identity.cluster_id != options.cluster_id {
            return Err(Error::WrongCluster { stored: identity.cluster_id, given: options.cluster_id });
        }
        if identity.node_id != options.node_id {
            tracing::warn!(stored = %identity.node_id, given = %options.node_id, "the store's node id changes");
            identity.node_id = options.node_id.clone();
        }
        if identity.format < meta::FORMAT {
            identity.format = meta::FORMAT;
            let stamp = meta::Stamp {
                format: identity.format,
                compatible: 0,
                required: 0,
                uuid: identity.uuid,
                cluster_id: identity.cluster_id.0,
            };
            // What lies there is read as it is; what comes from now on only this version and later ones read.
            batch.put(Cf::Meta, meta::STAMP, &sealed::seal(&stamp.encode()));
        }
        identity.incarnation += 1;
        batch.put(Cf::Meta, meta::NODE_ID, &sealed::seal(identity.node_id.as_str().as_bytes()));
        batch.put(Cf::Meta, meta::INCARNATION, &sealed::seal(&meta::number(identity.incarnation)));
        db.write(batch, Durability::Synced)?;
        Ok(identity)
    }
}

/// 122 random bits in the shape of a version 4 UUID.
fn random_uuid() -> Result<StoreUuid, Error> {
    use std::io::Read;
    let mut uuid = StoreUuid::default();
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut uuid.0))
        .map_err(|error| Error::Internal { doing: "draw a store uuid", message: error.to_string() })?;
    uuid.0[6] = uuid.0[6] & 0x0f | 0x40;
    uuid.0[8] = uuid.0[8] & 0x3f | 0x80;
    Ok(uuid)
}
