;; What cleans up recurses.
;; chat 38001 stack overflowed
(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))
(func (export "pg-llm:guest/chat@1.0.0#complete") (param i32) (result i32)
  (call $text (i32.const 12288) (i32.const 2)))
(data (i32.const 12288) "hi")
(func (export "cabi_post_pg-llm:guest/chat@1.0.0#complete") (param i32)
  (drop (call $deeper (local.get 0))))
