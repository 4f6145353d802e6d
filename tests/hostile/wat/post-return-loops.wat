;; What cleans up never ends.
;; set pg_llm.guest_cpu_ms = 100
;; chat 38001 computed for more than 100 ms
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
(func (export "cabi_post_pg-llm:guest/chat@1.0.0#complete") (param i32)
  (loop $again (br $again)))
