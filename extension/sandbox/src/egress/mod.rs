//! Where a call may go: policy, apart from transport.

mod address;
mod allow_list;
mod endpoint;

pub use address::{AddressClass, classify};
pub use allow_list::{AllowList, Grant};
pub use endpoint::{Endpoint, EndpointError, PathError};
