//! Descriptors of services in, the types of a method's messages out: all of prost-reflect's pool.

use prost_reflect::{DescriptorPool, MessageDescriptor};

use crate::decode::Grpc;

/// The types that are known.
#[derive(Clone, Debug, Default)]
pub struct Schema(DescriptorPool);

/// A file that is no set of descriptors.
#[derive(Debug, thiserror::Error)]
#[error("it is no FileDescriptorSet, as `protoc --include_imports -o FILE` writes it: {0}")]
pub struct SchemaError(#[from] prost_reflect::DescriptorError);

impl Schema {
    /// Adds what a `FileDescriptorSet` describes.
    pub fn add(&mut self, set: &[u8]) -> Result<(), SchemaError> {
        Ok(self.0.decode_file_descriptor_set(set)?)
    }

    /// The types of the request's and the response's messages.
    pub(super) fn types(&self, grpc: &Grpc) -> Option<(MessageDescriptor, MessageDescriptor)> {
        let service = self.0.get_service_by_name(grpc.service.as_deref()?)?;
        let wanted = grpc.method.as_deref()?;
        let method = service.methods().find(|method| method.name() == wanted)?;
        Some((method.input(), method.output()))
    }
}
