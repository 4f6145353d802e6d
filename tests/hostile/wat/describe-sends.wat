;; Sends a request when it is asked what it is: it has no network there, and is told so.
;; chat ok
(import "pg-llm:guest/http@1.0.0" "send" (func $send (param i32 i32)))
(func (export "pg-llm:guest/describe@1.0.0#describe") (result i32)
  (call $send (i32.const 24576) (i32.const 20480)) (if (i32.ne (i32.load8_u (i32.const 20480)) (i32.const 1)) (then unreachable)) (i32.const 16384))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
