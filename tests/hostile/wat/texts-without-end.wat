;; A megabyte of text, again and again.
;; stream 38001 larger than
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (if (i32.lt_u (memory.size) (i32.const 20)) (then (drop (memory.grow (i32.const 20)))))
  (drop (call $event (i32.const 1))) (i32.store (i32.const 8216) (i32.const 262144)) (i32.store (i32.const 8220) (i32.const 1048576)) (i32.const 8192))
