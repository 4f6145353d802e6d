;; A stream that is dropped for ever.
;; set pg_llm.guest_cpu_ms = 100
;; stream ok
;; chat 38001 computed for more than 100 ms
(import "[export]pg-llm:guest/chat@1.0.0" "[resource-drop]answer-stream" (func $drop (param i32)))
(func (export "pg-llm:guest/chat@1.0.0#[dtor]answer-stream") (param i32) (loop $again (br $again)))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (drop (call $stream)) (call $drop (i32.load (i32.const 8200))) (call $ok))
