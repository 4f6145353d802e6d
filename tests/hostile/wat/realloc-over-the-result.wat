;; Whatever the host asks room for goes over the same bytes, the request over itself.
;; chat ok
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
