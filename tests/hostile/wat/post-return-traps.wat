;; The answer is there; what cleans up after it traps.
;; chat 38001 unreachable
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
(func (export "cabi_post_pg-llm:guest/chat@1.0.0#complete") (param i32)
  unreachable)
