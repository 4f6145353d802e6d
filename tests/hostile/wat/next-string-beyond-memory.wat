;; A piece of text that is not there.
;; stream 38001 out of bounds
(func (export "pg-llm:guest/chat@1.0.0#[method]answer-stream.next") (param i32) (result i32)
  (drop (call $event (i32.const 1))) (i32.store (i32.const 8216) (i32.const 65536000)) (i32.store (i32.const 8220) (i32.const 9)) (i32.const 8192))
