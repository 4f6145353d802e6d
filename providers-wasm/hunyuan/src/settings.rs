//! What the adapter says of itself, and its settings.

use pg_llm_guest::prelude::*;
use pg_llm_guest::settings::SettingError;

/// JSON Schema of the settings. Whatever else the action knows goes into `extra_body`.
const SETTINGS_SCHEMA: &str = r#"{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "region": {"type": "string", "description": "Region that answers, such as ap-guangzhou (X-TC-Region). Default: the nearest."},
    "language": {"enum": ["zh-CN", "en-US"], "description": "Language of error messages (X-TC-Language)."},
    "enable_enhancement": {"type": "boolean", "description": "Let the model search (EnableEnhancement)."},
    "force_search": {"type": "boolean", "description": "Search always (ForceSearchEnhancement)."},
    "search_info": {"type": "boolean", "description": "Return what was found, in the raw response (SearchInfo)."},
    "citation": {"type": "boolean", "description": "Mark in the text what was found where (Citation)."},
    "stream_moderation": {"type": "boolean", "description": "Moderate a stream piece by piece (true, Hunyuan's default), or all of it before its first word (StreamModeration)."}
  }
}"#;

/// Settings that are members of the body as they are.
const FLAGS: [(&str, &str); 5] = [
    ("enable_enhancement", "EnableEnhancement"),
    ("force_search", "ForceSearchEnhancement"),
    ("search_info", "SearchInfo"),
    ("citation", "Citation"),
    ("stream_moderation", "StreamModeration"),
];

/// The adapter's description.
pub fn describe() -> Description {
    let profile = Profile::new("hunyuan-native")
        .endpoint("https://hunyuan.tencentcloudapi.com")
        .key("access_key_id", true, "SecretId, from https://console.cloud.tencent.com/cam/capi")
        .key("access_key_secret", true, "SecretKey that belongs to it")
        .capabilities(
            Capabilities::STREAM | Capabilities::TOOLS | Capabilities::VISION | Capabilities::THINKING | Capabilities::EMBEDDINGS,
        );
    Description::new("hunyuan", env!("CARGO_PKG_VERSION"), "Tencent Hunyuan in its native format.")
        .profile(profile)
        .settings_schema(SETTINGS_SCHEMA)
}

/// The settings of one call.
pub(crate) struct Wire {
    /// Names in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Members of a chat's body.
    pub(crate) flags: Vec<(&'static str, bool)>,
}

impl Wire {
    /// Reads the settings, a JSON object.
    pub(crate) fn of(settings: &str) -> Result<Self, Failure> {
        Ok(Self::read(&Settings::parse(settings)?)?)
    }

    fn read(settings: &Settings) -> Result<Self, SettingError> {
        let (mut headers, mut flags) = (Vec::new(), Vec::new());
        for (setting, header) in [("region", "x-tc-region"), ("language", "x-tc-language")] {
            headers.extend(settings.text(setting)?.map(|value| (header, value.to_owned())));
        }
        for (setting, member) in FLAGS {
            flags.extend(settings.flag(setting)?.map(|value| (member, value)));
        }
        Ok(Self { headers, flags })
    }
}
