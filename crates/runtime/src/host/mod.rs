//! One host per shape, where the shape is shared: [`projection`] folds logs into a state that queries read, [`owner`]
//! holds a lease and writes a log under it, [`sources`] reads several partitions as one stream.

pub mod owner;
pub mod projection;
pub mod sources;
