//! Alibaba Cloud DashScope, in its native format.
