//! Where a call may go: policy, apart from transport.

mod address;
mod allow_list;
mod endpoint;
mod token_hosts;
mod token_url;

pub use address::{AddressClass, classify};
pub use allow_list::{AllowList, Grant};
pub use endpoint::{Endpoint, EndpointError, PathError};
pub use token_hosts::TokenHosts;
pub use token_url::TokenUrl;
