;; What cleans up takes all memory.
;; chat 38001 bytes of memory
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
(func (export "cabi_post_pg-llm:guest/chat@1.0.0#complete") (param i32)
  (loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable)
