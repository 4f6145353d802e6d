;; Reads a response that nobody sent.
;; chat 38001 handle
(import "pg-llm:guest/http@1.0.0" "[method]response.read" (func $read (param i32 i32 i32)))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $read (i32.const 1) (i32.const 10) (i32.const 16384)) (call $ok))
