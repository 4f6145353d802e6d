//! What the adapter says of itself.

use pg_llm_guest::prelude::*;

use crate::settings::SETTINGS_SCHEMA;

/// The regions: each has its own keys and its own models.
const REGIONS: [(&str, &[&str], &str, &str); 3] = [
    (
        "dashscope",
        &["qianwen"],
        "https://dashscope.aliyuncs.com",
        "API key of Model Studio in the Beijing region, from https://bailian.console.aliyun.com",
    ),
    (
        "dashscope-intl",
        &[],
        "https://dashscope-intl.aliyuncs.com",
        "API key of Model Studio in the Singapore region, from https://modelstudio.console.alibabacloud.com",
    ),
    (
        "dashscope-us",
        &[],
        "https://dashscope-us.aliyuncs.com",
        "API key of Model Studio in the Virginia region, from https://modelstudio.console.alibabacloud.com",
    ),
];

/// The adapter's description.
pub fn describe() -> Description {
    let mut description =
        Description::new("dashscope", env!("CARGO_PKG_VERSION"), "Alibaba Cloud Model Studio in its native format, DashScope.")
            .settings_schema(SETTINGS_SCHEMA);
    for (name, aliases, endpoint, key) in REGIONS {
        let mut profile = Profile::new(name).endpoint(endpoint).key("default", true, key).capabilities(
            Capabilities::STREAM
                | Capabilities::TOOLS
                | Capabilities::JSON_SCHEMA
                | Capabilities::VISION
                | Capabilities::THINKING
                | Capabilities::LOGPROBS
                | Capabilities::EMBEDDINGS
                | Capabilities::RERANK
                | Capabilities::LIST_MODELS,
        );
        profile.aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        description = description.profile(profile);
    }
    description
}
