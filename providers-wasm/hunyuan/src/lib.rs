//! Tencent Hunyuan, in its native format.
