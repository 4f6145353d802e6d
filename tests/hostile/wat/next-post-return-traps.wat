;; What cleans up after an event traps.
;; stream 38001 unreachable
(func (export "cabi_post_pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) unreachable)
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (drop (call $event (i32.const 1))) (i32.const 8192))
